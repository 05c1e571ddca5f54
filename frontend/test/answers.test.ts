import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import type { NotificationManager } from '@jupyterlab/apputils';
import { nullTranslator } from '@jupyterlab/translation';

import { Answers } from '../src/answers';
import { Refused, type AcceptedRun, type InputAnswer } from '../src/api';
import { AskedRuns } from '../src/asked';
import type { Prompt } from '../src/prompts';
import { StrayPrompts } from '../src/stray';
import { newNotificationManager } from './notifications';

/** The server, as far as it takes answers. */
class Server {
  readonly answers: [string, InputAnswer][] = [];
  readonly interrupted: string[] = [];
  refusal: Error | null = null;

  answer(kernelId: string, answer: InputAnswer): Promise<void> {
    this.answers.push([kernelId, answer]);
    return this.refusal ? Promise.reject(this.refusal) : Promise.resolve();
  }

  interrupt(kernelId: string): Promise<void> {
    this.interrupted.push(kernelId);
    return this.refusal ? Promise.reject(this.refusal) : Promise.resolve();
  }
}

const trans = nullTranslator.load('jupyterlab');
let server: Server;
let manager: NotificationManager;
let answers: Answers;
let said: string | null;
let stray: StrayPrompts;

beforeEach(async () => {
  server = new Server();
  manager = await newNotificationManager();
  answers = new Answers(server, manager, trans);
  said = null;
  stray = new StrayPrompts(answers, server, manager, trans, () => Promise.resolve(said));
});

function prompt(more: Partial<Prompt> = {}): Prompt {
  return {
    id: 'prompt',
    runId: 'run',
    cellId: 'cell',
    text: 'name? ',
    password: false,
    policy: 'writers',
    user: 'ada',
    draft: null,
    ...more
  };
}

function shown(): string[] {
  return manager.notifications.map(({ type, message }) => `${type}: ${message}`);
}

async function press(label: string): Promise<void> {
  const notification = manager.notifications[0];
  const action = notification?.options.actions?.find(action => action.label === label);
  assert(notification && action);
  manager.dismiss(notification.id); // as JupyterLab does when a button was pressed
  action.callback({} as MouseEvent);
  await new Promise(resolve => setImmediate(resolve));
}

test('an answer is sent for its prompt', async () => {
  assert.equal(await answers.send(prompt(), 'kernel', 'Grace'), true);
  assert.deepEqual(server.answers, [
    ['kernel', { run_id: 'run', prompt_id: 'prompt', value: 'Grace' }]
  ]);
  assert.deepEqual(shown(), []);
});

test('who is too late is told what to do, unless all say the same', async () => {
  server.refusal = new Refused(409, 'Ada has answered this already.', { value: 'Ada' });
  assert.equal(await answers.send(prompt(), 'kernel', 'Ada'), false);
  assert.deepEqual(shown(), []);
  for (const late of ['Grace', 'Emmy']) {
    assert.equal(await answers.send(prompt(), 'kernel', late), false);
    answers.forget('prompt'); // the prompt is gone, and this has still to be read
    assert.deepEqual(shown(), [
      'warning: Ada has answered this already. What you typed is in the history of the next input (arrow up).'
    ]);
  }
});

test('of a password nothing is said but that it came too late', async () => {
  server.refusal = new Refused(409, 'Ada has answered this already.', { value: null });
  await answers.send(prompt({ password: true }), 'kernel', 'secret');
  assert.deepEqual(shown(), ['warning: Ada has answered this already.']);
});

test('what went wrong is said until the next try, or until the prompt is gone', async () => {
  server.refusal = new TypeError('Failed to fetch');
  assert.equal(await answers.send(prompt(), 'kernel', 'secret'), false);
  const [message] = shown();
  assert.match(
    message ?? '',
    /^error: The answer could not be sent.*press Enter there to try again\.$/
  );
  assert.doesNotMatch(message ?? '', /secret/);
  server.refusal = new Refused(403, 'Only who has run the cell may answer this.');
  assert.equal(await answers.send(prompt(), 'kernel', 'Grace'), false);
  assert.deepEqual(shown(), ['error: Only who has run the cell may answer this.']);
  answers.forget('prompt');
  assert.deepEqual(shown(), []);
  await answers.send(prompt(), 'kernel', 'Grace');
  server.refusal = null;
  assert.equal(await answers.send(prompt(), 'kernel', 'Grace'), true);
  assert.deepEqual(shown(), []);
});

test('a prompt without a cell can be answered', async () => {
  stray.show(prompt(), 'kernel', '');
  stray.show(prompt(), 'kernel', '');
  const notice = 'warning: A cell that was deleted waits for input: name?';
  assert.deepEqual(shown(), [notice]);
  await press('Answer'); // and think better of it
  assert.deepEqual(shown(), [notice]);
  said = 'Grace';
  await press('Answer');
  assert.deepEqual(shown(), []);
  assert.deepEqual(server.answers.at(-1)?.[1].value, 'Grace');
  stray.hide('prompt');
  stray.show(prompt({ id: 'next', text: '' }), 'kernel', '');
  assert.deepEqual(shown(), ['warning: A cell that was deleted waits for input: …']);
  stray.hide('next');
  assert.deepEqual(shown(), []);
});

test('or the kernel interrupted, also by who may not answer', async () => {
  stray.show(prompt(), 'kernel', 'Ask them to.');
  assert.deepEqual(shown(), [
    'warning: A cell that was deleted waits for input: name? Ask them to.'
  ]);
  const labels = manager.notifications[0]?.options.actions?.map(({ label }) => label);
  assert.deepEqual(labels, ['Interrupt']);
  server.refusal = new Refused(403, 'Forbidden');
  await press('Interrupt');
  assert.deepEqual(shown().sort(), [
    'error: Forbidden',
    'warning: A cell that was deleted waits for input: name? Ask them to.'
  ]);
  assert.deepEqual(server.interrupted, ['kernel']);
});

test('what a page has asked for is its own, also before the request is answered', async () => {
  const asked = new AskedRuns();
  const runs = [{ cell_id: 'cell', run_id: 'run', state: 'queued' }] as AcceptedRun[];
  assert.equal(await asked.has('run'), false);
  let answer: (runs: AcceptedRun[]) => void = () => undefined;
  const request = asked.note(
    new Promise<AcceptedRun[]>(resolve => {
      answer = resolve;
    })
  );
  const early = asked.has('run');
  const other = asked.has('other');
  answer(runs);
  assert.deepEqual(await request, runs);
  assert.deepEqual(await Promise.all([early, other]), [true, false]);
  assert.equal(await asked.has('run'), true);
  asked.forget(runs);
  assert.equal(await asked.has('run'), false);
  await assert.rejects(asked.note(Promise.reject(new Error('no'))), /no/);
  assert.equal(await asked.has('run'), false);
});
