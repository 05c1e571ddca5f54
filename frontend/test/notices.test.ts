import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import type { NotificationManager } from '@jupyterlab/apputils';
import { nullTranslator } from '@jupyterlab/translation';
import * as Y from 'yjs';

import { Refused } from '../src/api';
import { NoticeBoard } from '../src/notices';
import { newNotificationManager } from './notifications';

/** The server, as far as it restores. */
class Server {
  readonly asked: [string, string][] = [];
  refusal: Error | null = null;

  restore(path: string, copy: string): Promise<void> {
    this.asked.push([path, copy]);
    return this.refusal ? Promise.reject(this.refusal) : Promise.resolve();
  }
}

let server: Server;
let manager: NotificationManager;
let board: NoticeBoard;
let writer: Y.Doc;

beforeEach(async () => {
  server = new Server();
  manager = await newNotificationManager();
  board = new NoticeBoard(manager, server, nullTranslator.load('jupyterlab'));
  writer = new Y.Doc();
  writer.getMap('execution').set('notices', new Y.Map());
});

function notices(): Y.Map<unknown> {
  return writer.getMap('execution').get('notices') as Y.Map<unknown>;
}

/** A tab that has the document, and goes on getting what is written. */
function tab(): { doc: Y.Doc; writes: () => number } {
  const doc = new Y.Doc();
  let writes = 0;
  doc.on('update', (_: Uint8Array, origin: unknown) => {
    writes += origin === writer ? 0 : 1;
  });
  Y.applyUpdate(doc, Y.encodeStateAsUpdate(writer), writer);
  writer.on('update', (update: Uint8Array) => {
    Y.applyUpdate(doc, update, writer);
  });
  return { doc, writes: () => writes };
}

function shown(): string[] {
  return manager.notifications.map(({ type, message }) => `${type}: ${message}`).sort();
}

async function press(label: string): Promise<void> {
  const notification = manager.notifications[0];
  const action = notification?.options.actions?.find(action => action.label === label);
  assert(notification && action);
  manager.dismiss(notification.id); // as JupyterLab does when a button was pressed
  action.callback({} as MouseEvent);
  await new Promise(resolve => setImmediate(resolve));
}

const path = (): string => 'folder/a.ipynb';

test('what is there already and what comes later is shown, until it is over', () => {
  notices().set('1', { kind: 'save-failed', text: 'The disk is full.', at: '2026' });
  const { doc, writes } = tab();
  board.follow(doc, path);
  assert.deepEqual(shown(), ['error: The disk is full.']);
  notices().set('2', { kind: 'wiped', text: 'Most of it is gone.', at: '2026', copy: 'copy' });
  assert.deepEqual(shown(), ['error: The disk is full.', 'warning: Most of it is gone.']);
  assert(manager.notifications.every(({ options }) => options.autoClose === false));
  notices().delete('1');
  assert.deepEqual(shown(), ['warning: Most of it is gone.']);
  notices().delete('2');
  assert.deepEqual(shown(), []);
  assert.equal(writes(), 0);
});

test('a document without notices gets them later', () => {
  writer = new Y.Doc();
  const { doc, writes } = tab();
  board.follow(doc, path);
  writer.getMap('execution').set('runs', new Y.Map([['cell', 'running']]));
  const map = new Y.Map([['1', { kind: 'conflict', text: 'Both.' }]]);
  writer.getMap('execution').set('notices', map);
  assert.deepEqual(shown(), ['warning: Both.']);
  assert.equal(writes(), 0);
});

test('what somebody has dismissed is not shown again', async () => {
  notices().set('1', { kind: 'conflict', text: 'Both.', copy: 'copy' });
  const { doc } = tab();
  const following = board.follow(doc, path);
  await press('Dismiss');
  writer.getMap('execution').set('kernel', { status: 'idle' });
  assert.deepEqual(shown(), []);
  following.dispose();
  board.follow(doc, path);
  board.follow(tab().doc, path);
  assert.deepEqual(shown(), []);
  assert.deepEqual(server.asked, []);
});

test('two views of one document, and two connections to it, show it once', () => {
  notices().set('1', { kind: 'conflict', text: 'Both.' });
  const { doc } = tab();
  board.follow(doc, path);
  board.follow(doc, path);
  assert.deepEqual(shown(), ['warning: Both.']);
});

test('when the last view is closed it goes, and comes again', () => {
  notices().set('1', { kind: 'conflict', text: 'Both.' });
  const { doc } = tab();
  const views = [board.follow(doc, path), board.follow(doc, path)];
  views[0]?.dispose();
  views[0]?.dispose();
  assert.deepEqual(shown(), ['warning: Both.']);
  views[1]?.dispose();
  assert(views[1]?.isDisposed);
  assert.deepEqual(shown(), []);
  notices().set('2', { kind: 'conflict', text: 'Again.' });
  assert.deepEqual(shown(), []);
  board.follow(doc, path);
  assert.deepEqual(shown(), ['warning: Again.', 'warning: Both.']);
});

test('restoring asks the server for the copy, where the file is then', async () => {
  notices().set('1', { kind: 'wiped', text: 'Most of it is gone.', copy: '00000001-12345678' });
  let name = 'a.ipynb';
  board.follow(tab().doc, () => name);
  name = 'renamed.ipynb';
  await press('Restore');
  assert.deepEqual(server.asked, [['renamed.ipynb', '00000001-12345678']]);
  assert.deepEqual(
    shown().map(line => line.split(':')[0]),
    ['success']
  );
});

test('a refusal is said, and it can be tried again', async () => {
  notices().set('1', { kind: 'wiped', text: 'Most of it is gone.', copy: 'copy' });
  board.follow(tab().doc, path);
  server.refusal = new Refused(404, 'There is no such copy.');
  await press('Restore');
  assert.deepEqual(shown(), ['error: There is no such copy.']);
  server.refusal = null;
  await press('Restore');
  assert.equal(server.asked.length, 2);
  assert.deepEqual(
    shown().map(line => line.split(':')[0]),
    ['success']
  );
});

test('a notice without a copy offers nothing to restore', () => {
  notices().set('1', { kind: 'save-failed', text: 'The disk is full.' });
  board.follow(tab().doc, path);
  const actions = manager.notifications[0]?.options.actions ?? [];
  assert.deepEqual(
    actions.map(({ label }) => label),
    ['Dismiss']
  );
});

for (const nonsense of [null, 3, 'text', [1], { a: 1 }]) {
  test(`nonsense shows nothing: ${JSON.stringify(nonsense)}`, () => {
    writer.getMap('execution').set('notices', nonsense);
    const { doc } = tab();
    board.follow(doc, path);
    const map = new Y.Map<unknown>([
      ['1', nonsense],
      ['2', { kind: 'wiped', text: 3 }],
      ['3', { kind: 'wiped', text: 'text', copy: 3 }],
      ['4', new Y.Map([['kind', 'wiped']])]
    ]);
    writer.getMap('execution').set('notices', map);
    assert.deepEqual(shown(), []);
    notices().set('5', { kind: 'wiped', text: 'Most of it is gone.' });
    assert.deepEqual(shown(), ['warning: Most of it is gone.']);
  });
}
