import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';

import * as Y from 'yjs';

import { outcomeInDocument, RunWatch, type Answer, type Outcome, type RunState } from '../src/runs';

/** The server's document and a browser's, and the wire between them. */
class Pair {
  readonly server = new Y.Doc();
  readonly browser = new Y.Doc();
  private held: Uint8Array[] | null = null;

  constructor() {
    this.server.on('update', update => {
      if (this.held) {
        this.held.push(update);
      } else {
        Y.applyUpdate(this.browser, update);
      }
    });
    this.renew();
  }

  /** What the server does when a run comes and there is none: what was live before goes as a whole. */
  renew(...entries: [string, unknown][]): void {
    this.server.getMap('execution').set('now', now(...entries));
  }

  enter(cellId: string, runId: string, state: RunState): void {
    this.runs.set(cellId, { run_id: runId, state, seq: 1, user: 'somebody' });
  }

  /** What the server does at the end of a run: two transactions. */
  end(cellId: string, runId: string, outcome: Outcome): void {
    this.enter(cellId, runId, outcome);
    this.runs.delete(cellId);
  }

  disconnect(): void {
    this.held = [];
  }

  /** All that was missed arrives as one. */
  reconnect(): void {
    this.held = null;
    Y.applyUpdate(
      this.browser,
      Y.encodeStateAsUpdate(this.server, Y.encodeStateVector(this.browser))
    );
  }

  private get runs(): Y.Map<unknown> {
    const live = this.server.getMap('execution').get('now') as Y.Map<unknown>;
    return live.get('runs') as Y.Map<unknown>;
  }
}

/** What is live, with these runs. */
function now(...entries: [string, unknown][]): Y.Map<unknown> {
  return new Y.Map([['runs', new Y.Map(entries)]]);
}

/** Answers from a list, then for ever the last one; keeps what was asked. */
function answering(...answers: (Answer | Error)[]): {
  ask: (runId: string) => Promise<Answer>;
  asked: string[];
} {
  const asked: string[] = [];
  const ask = (runId: string): Promise<Answer> => {
    const answer = answers[Math.min(asked.length, answers.length - 1)] ?? new Error('not expected');
    asked.push(runId);
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  };
  return { ask, asked };
}

const QUICK = { unseen: 20, again: 20 };

for (const outcome of ['ok', 'error', 'aborted', 'cancelled', 'lost'] as const) {
  test(`the end "${outcome}" is read in the document`, async () => {
    const pair = new Pair();
    const { ask, asked } = answering();
    const watch = new RunWatch(pair.browser, ['a', 'b'], ask);
    pair.enter('a', '1', 'queued');
    const end = watch.outcome('a', '1', 'queued');
    pair.enter('a', '1', 'running');
    pair.enter('a', '1', 'input');
    pair.end('a', '1', outcome);
    assert.equal(await end, outcome);
    assert.deepEqual(asked, []);
    watch.dispose();
  });
}

test('a run that was over before the request was answered is not missed', async () => {
  const pair = new Pair();
  const { ask, asked } = answering();
  const watch = new RunWatch(pair.browser, ['a'], ask);
  pair.enter('a', '1', 'running');
  pair.end('a', '1', 'ok');
  assert.equal(await watch.outcome('a', '1', 'queued'), 'ok');
  assert.deepEqual(asked, []);
  watch.dispose();
});

test('an end in the answer to the request is enough', async () => {
  const watch = new RunWatch(new Pair().browser, ['a'], answering().ask);
  assert.equal(await watch.outcome('a', '1', 'ok'), 'ok');
  watch.dispose();
});

test('the end of an earlier run of the same cell is not taken for ours', async () => {
  const pair = new Pair();
  const { ask } = answering('queued');
  const watch = new RunWatch(pair.browser, ['a'], ask);
  pair.enter('a', 'theirs', 'running');
  const end = watch.outcome('a', 'ours', 'queued');
  pair.end('a', 'theirs', 'error');
  pair.enter('a', 'ours', 'running');
  pair.end('a', 'ours', 'ok');
  assert.equal(await end, 'ok');
  watch.dispose();
});

test('what is live may be replaced as a whole', async () => {
  const pair = new Pair();
  const watch = new RunWatch(pair.browser, ['a'], answering().ask);
  pair.enter('a', '1', 'running');
  const end = watch.outcome('a', '1', 'queued');
  pair.renew(['a', { run_id: '1', state: 'running' }]);
  pair.end('a', '1', 'ok');
  assert.equal(await end, 'ok');
  watch.dispose();
});

test('the document may have no runs at all when watching starts', async () => {
  const doc = new Y.Doc();
  const watch = new RunWatch(doc, ['a'], answering().ask);
  const end = watch.outcome('a', '1', 'queued');
  doc.getMap('execution').set('now', now(['a', { run_id: '1', state: 'ok' }]));
  assert.equal(await end, 'ok');
  watch.dispose();
});

test('the server is asked when an entry left while we were away', async () => {
  const pair = new Pair();
  const { ask, asked } = answering('error');
  const watch = new RunWatch(pair.browser, ['a'], ask);
  pair.enter('a', '1', 'running');
  const end = watch.outcome('a', '1', 'queued');
  pair.disconnect();
  pair.end('a', '1', 'error');
  pair.reconnect();
  assert.equal(await end, 'error');
  assert.deepEqual(asked, ['1']);
  watch.dispose();
});

test('the server is asked about a run that never appears, until it has ended', async () => {
  const { ask, asked } = answering('queued', new Error('offline'), 'running', 'ok');
  const watch = new RunWatch(new Pair().browser, ['a'], ask, QUICK);
  assert.equal(await watch.outcome('a', '1', 'queued'), 'ok');
  assert.equal(asked.length, 4);
  watch.dispose();
});

test('nothing is asked while the entry can be seen', async () => {
  const pair = new Pair();
  const { ask, asked } = answering();
  const watch = new RunWatch(pair.browser, ['a'], ask, QUICK);
  const end = watch.outcome('a', '1', 'queued');
  pair.enter('a', '1', 'running');
  await sleep(100);
  assert.deepEqual(asked, []);
  pair.end('a', '1', 'ok');
  assert.equal(await end, 'ok');
  watch.dispose();
});

test('after a reconnection all that is awaited is asked about, and only the ended ends', async () => {
  const pair = new Pair();
  const answers = new Map<string, Answer>([
    ['1', 'ok'],
    ['2', 'running']
  ]);
  const watch = new RunWatch(pair.browser, ['a', 'b'], runId =>
    Promise.resolve(answers.get(runId) ?? 'unknown')
  );
  pair.enter('a', '1', 'running');
  pair.enter('b', '2', 'queued');
  const first = watch.outcome('a', '1', 'queued');
  const second = watch.outcome('b', '2', 'queued');
  await watch.askAll();
  assert.equal(await first, 'ok');
  pair.end('b', '2', 'aborted');
  assert.equal(await second, 'aborted');
  watch.dispose();
});

test('a run the server does not know is judged by its cell', async () => {
  const doc = new Y.Doc();
  const cells = doc.getArray<Y.Map<unknown>>('cells');
  const cell = (id: string, count: number | null, outputs: object[]): Y.Map<unknown> =>
    new Y.Map<unknown>([
      ['id', id],
      ['execution_count', count],
      ['outputs', Y.Array.from(outputs)]
    ]);
  const failed = new Y.Map<unknown>([['output_type', 'error']]);
  cells.push([
    cell('done', 3, [{ output_type: 'stream' }]),
    cell('failed', 4, [{ output_type: 'stream' }, failed]),
    cell('never', null, [])
  ]);
  assert.equal(outcomeInDocument(doc, 'done'), 'ok');
  assert.equal(outcomeInDocument(doc, 'failed'), 'error');
  assert.equal(outcomeInDocument(doc, 'never'), 'lost');
  assert.equal(outcomeInDocument(doc, 'deleted'), 'lost');

  const watch = new RunWatch(doc, ['done'], answering('unknown').ask, QUICK);
  assert.equal(await watch.outcome('done', '1', 'queued'), 'ok');
  watch.dispose();
});

test('a cell that is gone, and the end of watching, leave nobody waiting', async () => {
  const pair = new Pair();
  const watch = new RunWatch(pair.browser, ['a', 'b'], answering().ask);
  pair.enter('a', '1', 'running');
  pair.enter('b', '2', 'queued');
  const first = watch.outcome('a', '1', 'queued');
  const second = watch.outcome('b', '2', 'queued');
  watch.forget('a');
  assert.equal(await first, null);
  watch.dispose();
  assert.equal(await second, null);
  assert.equal(await watch.outcome('a', '3', 'queued'), null);
  pair.end('b', '2', 'ok');
});

test('watching changes nothing in the document', () => {
  const pair = new Pair();
  let updates = 0;
  pair.browser.on('update', () => updates++);
  const watch = new RunWatch(pair.browser, ['a'], answering().ask);
  watch.dispose();
  assert.equal(updates, 0);
});
