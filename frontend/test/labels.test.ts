import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { nullTranslator } from '@jupyterlab/translation';
import * as Y from 'yjs';

import { inShort, inWords, labelsOf } from '../src/labels';
import { isLive, liveRuns } from '../src/live';

const trans = nullTranslator.load('jupyterlab');
const NOON = Date.parse('2030-01-01T12:00:00Z');

let doc: Y.Doc;
let now: Y.Map<unknown>;
let runs: Y.Map<unknown>;

beforeEach(() => {
  doc = new Y.Doc();
  now = new Y.Map();
  runs = new Y.Map();
  doc.getMap('execution').set('now', now);
  now.set('runs', runs);
});

/** An entry as the server writes it; begun so many seconds before noon. */
function entry(state: string, seq: number, begun: number | null = null, more: object = {}): object {
  const started_at = begun === null ? null : new Date(NOON - begun * 1000).toISOString();
  return { run_id: `run ${seq}`, state, seq, user: 'ada', queued_at: '', started_at, ...more };
}

function shown(me: string | null = 'ada'): Record<string, [string, string, string]> {
  const labels = labelsOf(liveRuns(doc), NOON, me, trans);
  return Object.fromEntries(
    [...labels].map(([cell, { short, by, sentence }]) => [cell, [short, by, sentence]])
  );
}

test('runs have their place by their number, not by where their cells are', () => {
  runs.set('c', entry('queued', 12));
  runs.set('a', entry('queued', 4));
  runs.set('b', entry('running', 3, 42));
  assert.deepEqual(shown(), {
    b: ['42s', '', 'Running for 42 seconds'],
    a: ['#1', '', 'Next in the queue'],
    c: ['#2', '', 'Number 2 in the queue']
  });
  runs.set('b', entry('ok', 3, 42));
  assert.deepEqual(Object.keys(shown()), ['a', 'c']);
  assert.ok(isLive(doc, 'a'));
  assert.ok(!isLive(doc, 'b'));
  assert.ok(!isLive(doc, 'nobody'));
});

test('others are named, and nobody before it is known who looks on', () => {
  runs.set('a', entry('running', 1, 90, { user: '0815', name: 'Ada Lovelace' }));
  runs.set('b', entry('queued', 2));
  runs.set('c', entry('queued', 3, null, { user: '' }));
  assert.deepEqual(shown('grace'), {
    a: ['90s', 'Ada Lovelace', 'Running for 1 minute 30 seconds, asked for by Ada Lovelace'],
    b: ['#1', 'ada', 'Next in the queue, asked for by ada'],
    c: ['#2', '', 'Number 2 in the queue']
  });
  assert.deepEqual(shown('0815')['a'], ['90s', '', 'Running for 1 minute 30 seconds']);
  assert.deepEqual(shown(null)['a'], ['90s', '', 'Running for 1 minute 30 seconds']);
});

test('what has just begun is not worth a word', () => {
  runs.set('a', entry('running', 1, 0.9));
  runs.set('b', entry('running', 2, -5));
  runs.set('c', entry('running', 3));
  assert.deepEqual(shown(), {});
});

test('waiting for input is told apart', () => {
  runs.set('a', entry('input', 1, 5));
  assert.deepEqual(shown(), { a: ['?', '', 'Waiting for input for 5 seconds'] });
  const prompt = new Y.Map<unknown>();
  now.set('prompts', new Y.Map([['run 1', prompt]]));
  prompt.set('cell_id', 'a');
  prompt.set('asked_at', new Date(NOON - 2000).toISOString());
  assert.deepEqual(shown('grace'), {
    a: ['?', 'ada', 'Waiting for input for 2 seconds, asked for by ada']
  });
  prompt.set('asked_at', new Date(NOON).toISOString());
  assert.deepEqual(shown(), { a: ['?', '', 'Waiting for input'] });
});

test('how much of it is done', () => {
  runs.set('a', entry('running', 7, 1));
  runs.set('b', entry('queued', 8));
  now.set('total', 5);
  now.set('since', '2030-01-01T11:59:00.123456Z');
  const { total, since } = liveRuns(doc);
  assert.equal(total, 5);
  assert.equal(since, NOON - 59_877);
});

for (const spoilt of [undefined, null, 7, 'text', [], {}]) {
  test(`what somebody else has written there is not shown: ${JSON.stringify(spoilt)}`, () => {
    runs.set('a', spoilt);
    runs.set('b', { state: spoilt, seq: spoilt });
    runs.set('c', { state: 'queued', seq: spoilt, user: spoilt, name: spoilt });
    runs.set('d', { state: 'running', seq: 8, started_at: spoilt });
    now.set('total', spoilt);
    now.set('since', spoilt);
    assert.deepEqual(
      liveRuns(doc).runs.map(run => run.cellId),
      ['c', 'd']
    );
    assert.ok([2, 7].includes(liveRuns(doc).total));
    assert.equal(liveRuns(doc).since, null);
    now.set('runs', spoilt);
    assert.deepEqual(liveRuns(doc).runs, []);
    doc.getMap('execution').set('now', spoilt);
    assert.deepEqual(liveRuns(doc).runs, []);
    assert.ok(!isLive(doc, 'a'));
  });
}

test('a long queue fits', () => {
  for (let seq = 1; seq <= 120; seq++) {
    runs.set(`cell ${seq}`, entry('queued', seq));
  }
  assert.deepEqual(shown()['cell 99'], ['#99', '', 'Number 99 in the queue']);
  assert.deepEqual(shown()['cell 100'], ['99+', '', 'Number 100 in the queue']);
});

test('durations fit', () => {
  const times: [number, string, string][] = [
    [0, '0s', '0 seconds'],
    [1, '1s', '1 second'],
    [59, '59s', '59 seconds'],
    [60, '60s', '1 minute'],
    [61, '61s', '1 minute 1 second'],
    [3599, '59m', '59 minutes 59 seconds'],
    [3600, '60m', '1 hour'],
    [3661, '61m', '1 hour 1 minute'],
    [99, '99s', '1 minute 39 seconds'],
    [100, '1m', '1 minute 40 seconds'],
    [35_999, '9h', '9 hours 59 minutes'],
    [36_000, '10h', '10 hours'],
    [172_799, '47h', '1 day 23 hours'],
    [172_800, '48h', '2 days'],
    [360_000, '4d', '4 days 4 hours'],
    [99 * 86_400, '99d', '99 days']
  ];
  for (const [seconds, short, words] of times) {
    assert.equal(inShort(seconds), short);
    assert.equal(inWords(seconds, trans), words);
  }
});
