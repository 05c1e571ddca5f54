import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import * as Y from 'yjs';

import { hindrance, pendingIn, type Person, type Policy } from '../src/prompts';

let doc: Y.Doc;
let now: Y.Map<unknown>;
let prompts: Y.Map<unknown>;

beforeEach(() => {
  doc = new Y.Doc();
  now = new Y.Map();
  prompts = new Y.Map();
  doc.getMap('execution').set('now', now);
  now.set('kernel', { id: 'kernel' });
  now.set('prompts', prompts);
});

/** An entry as the server writes it. */
function entry(more: Record<string, unknown> = {}): Y.Map<unknown> {
  const map = new Y.Map<unknown>();
  const fields = {
    prompt_id: 'prompt',
    run_id: 'run',
    cell_id: 'cell',
    prompt: 'name? ',
    password: false,
    asked_at: '2030-01-01T12:00:00Z',
    policy: 'writers',
    user: 'ada',
    ...more
  };
  for (const [key, value] of Object.entries(fields)) {
    map.set(key, value);
  }
  return map;
}

test('a prompt is read with its draft', () => {
  prompts.set('run', entry({ value: new Y.Text('Gr') }));
  const { kernelId, prompts: found } = pendingIn(doc);
  assert.equal(kernelId, 'kernel');
  assert.equal(found.length, 1);
  const { draft, ...rest } = found[0] ?? {};
  assert.deepEqual(rest, {
    id: 'prompt',
    runId: 'run',
    cellId: 'cell',
    text: 'name? ',
    password: false,
    policy: 'writers',
    user: 'ada'
  });
  assert.equal(draft?.toJSON(), 'Gr');
});

test('the kernel is found in a shared map as well', () => {
  const kernel = new Y.Map<unknown>();
  now.set('kernel', kernel);
  kernel.set('id', 'other');
  assert.equal(pendingIn(doc).kernelId, 'other');
});

test('a password has no draft, even if somebody puts one there', () => {
  prompts.set('run', entry({ password: true, value: new Y.Text('secret') }));
  assert.equal(pendingIn(doc).prompts[0]?.draft, null);
});

test('what is no prompt is none', () => {
  for (const [name, value] of Object.entries({
    text: 'prompt',
    nothing: null,
    plain: { prompt_id: 'x', run_id: 'x', cell_id: 'x' },
    array: new Y.Array(),
    nameless: entry({ prompt_id: 7 }),
    homeless: entry({ cell_id: '' })
  })) {
    prompts.set(name, value);
  }
  assert.deepEqual(pendingIn(doc).prompts, []);
  prompts.set('odd', entry({ prompt: 7, policy: 'nobody', value: 'text', user: null }));
  const [odd] = pendingIn(doc).prompts;
  assert.deepEqual([odd?.text, odd?.policy, odd?.draft, odd?.user], ['', 'writers', null, '']);
  now.set('prompts', 'none');
  now.set('kernel', null);
  assert.deepEqual(pendingIn(doc), { kernelId: null, prompts: [] });
  assert.deepEqual(pendingIn(new Y.Doc()), { kernelId: null, prompts: [] });
});

test('who may answer is what the server goes by', () => {
  const may = { execute: true, write: true };
  const reader = { execute: true, write: false };
  const people: Record<string, Person> = {
    runner: { account: 'ada', rights: may },
    writer: { account: 'grace', rights: may },
    reader: { account: 'grace', rights: reader },
    'who reads what they run': { account: 'ada', rights: reader },
    'who executes nothing': { account: 'ada', rights: { execute: false, write: true } },
    stranger: { account: null, rights: null }
  };
  const found = (policy: Policy): Record<string, string> => {
    prompts.set('run', entry({ policy }));
    const [prompt] = pendingIn(doc).prompts;
    assert(prompt);
    return Object.fromEntries(
      Object.entries(people).flatMap(([name, person]) => {
        const found = hindrance(prompt, person);
        return found ? [[name, found]] : [];
      })
    );
  };
  const nobody = { 'who executes nothing': 'execute' };
  assert.deepEqual(found('anyone'), nobody);
  assert.deepEqual(found('writers'), {
    reader: 'write',
    'who reads what they run': 'write',
    ...nobody
  });
  assert.deepEqual(found('runner'), { writer: 'runner', reader: 'runner', ...nobody });
});
