import assert from 'node:assert/strict';
import { test } from 'node:test';

import { BatchQueue } from '../src/batch';

function tick(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

test('what is added in one go travels together, in its order', async () => {
  const sent: number[][] = [];
  const queue = new BatchQueue<number>(items => {
    sent.push(items);
    return Promise.resolve();
  });
  for (let number = 0; number < 30; number++) {
    queue.add(number);
  }
  assert.deepEqual(sent, []);
  await tick();
  assert.deepEqual(sent, [Array.from({ length: 30 }, (_, number) => number)]);
});

test('a batch waits until the one before it was answered', async () => {
  const sent: string[][] = [];
  const answers: (() => void)[] = [];
  const queue = new BatchQueue<string>(items => {
    sent.push(items);
    return new Promise(resolve => answers.push(resolve));
  });
  queue.add('first');
  await tick();
  queue.add('second');
  queue.add('second too');
  await tick();
  queue.add('third');
  await tick();
  assert.deepEqual(sent, [['first']]);

  answers[0]?.();
  await tick();
  assert.deepEqual(sent, [['first'], ['second', 'second too']]);

  answers[1]?.();
  await tick();
  assert.deepEqual(sent, [['first'], ['second', 'second too'], ['third']]);
});

test('what must not travel twice begins the next batch', async () => {
  const sent: string[][] = [];
  const queue = new BatchQueue<string>(
    items => {
      sent.push(items);
      return Promise.resolve();
    },
    (one, other) => one === other
  );
  for (const cell of ['a', 'b', 'a', 'c']) {
    queue.add(cell);
  }
  await tick();
  assert.deepEqual(sent, [
    ['a', 'b'],
    ['a', 'c']
  ]);
});
