import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as decoding from 'lib0/decoding';
import * as encoding from 'lib0/encoding';
import * as Y from 'yjs';

import { Refused } from '../src/api';
import {
  encodeExecute,
  execute,
  NotConnected,
  Unanswered,
  type RoomConnection
} from '../src/asking';

const REQUEST = { kernel_id: 'kernel', cell_ids: ['one', 'two'], record_timing: false };
const RUNS = [
  { cell_id: 'one', run_id: '1', state: 'running' },
  { cell_id: 'two', run_id: '2', state: 'queued' }
];

/** A websocket that keeps what is sent. */
class Socket extends EventTarget {
  readonly OPEN = 1;
  readyState = 1;
  listening = 0;
  readonly sent: Uint8Array[] = [];

  override addEventListener(...args: Parameters<EventTarget['addEventListener']>): void {
    this.listening++;
    super.addEventListener(...args);
  }

  override removeEventListener(...args: Parameters<EventTarget['removeEventListener']>): void {
    this.listening--;
    super.removeEventListener(...args);
  }

  send(data: Uint8Array): void {
    this.sent.push(data);
  }

  receive(data: Uint8Array): void {
    this.dispatchEvent(new MessageEvent('message', { data: new Uint8Array(data).buffer }));
  }

  close(): void {
    this.readyState = 3;
    this.dispatchEvent(new Event('close'));
  }
}

/** The connection to a room, with the switch in our hand. */
class Room {
  readonly doc = new Y.Doc();
  socket = new Socket();
  wsconnected = true;
  synced = true;
  private readonly listeners = new Set<(synced: boolean) => void>();

  get ws(): WebSocket {
    return this.socket as unknown as WebSocket;
  }

  on(_event: 'sync', listener: (synced: boolean) => void): void {
    this.listeners.add(listener);
  }

  off(_event: 'sync', listener: (synced: boolean) => void): void {
    this.listeners.delete(listener);
  }

  synchronise(): void {
    this.synced = true;
    [...this.listeners].forEach(listener => {
      listener(true);
    });
  }

  get listening(): number {
    return this.listeners.size;
  }
}

/** What the server sends with these words. */
function raw(words: unknown): Uint8Array {
  const encoder = encoding.createEncoder();
  encoding.writeVarUint(encoder, 2);
  encoding.writeVarString(encoder, JSON.stringify(words));
  return encoding.toUint8Array(encoder);
}

function answer(id: string, status = 202, body: unknown = { runs: RUNS }): Uint8Array {
  return raw({ type: 'execute', responseTo: id, status, body });
}

function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

test('a request is a raw message with its name, its id and what it asks', () => {
  const decoder = decoding.createDecoder(encodeExecute('some id', REQUEST));
  assert.equal(decoding.readVarUint(decoder), 2);
  assert.equal(decoding.readVarString(decoder), 'execute');
  assert.equal(decoding.readVarString(decoder), 'some id');
  assert.deepEqual(JSON.parse(decoding.readVarString(decoder)), REQUEST);
  assert.equal(decoding.hasContent(decoder), false);
});

test('a request goes out at once, and its answer is found among all that comes', async () => {
  const room = new Room();
  const asked = execute(() => room, REQUEST, 'id', 1000);
  await turn();
  assert.deepEqual(room.socket.sent, [encodeExecute('id', REQUEST)]);
  room.socket.receive(new Uint8Array([0, 2, 1, 0]));
  room.socket.receive(raw({ type: 'save', responseTo: 1, status: 'success' }));
  room.socket.receive(answer('another', 500, {}));
  room.socket.receive(answer('id'));
  assert.deepEqual(await asked, RUNS);
  assert.equal(room.listening, 0);
  assert.equal(room.socket.listening, 0);
});

test('a refusal is told in the words of the server', async () => {
  for (const [body, message] of [
    [{ message: 'There is no such kernel.' }, 'There is no such kernel.'],
    [null, 'The server answered 404.']
  ] as const) {
    const room = new Room();
    const asked = execute(() => room, REQUEST, 'id', 1000);
    await turn();
    room.socket.receive(answer('id', 404, body));
    await assert.rejects(asked, new Refused(404, message, body));
  }
});

test('a request waits until what was typed offline has been sent', async () => {
  const room = new Room();
  room.synced = false;
  const asked = execute(() => room, REQUEST, 'id', 5000);
  await turn();
  assert.deepEqual(room.socket.sent, []);
  room.synchronise();
  await turn();
  room.socket.receive(answer('id'));
  await asked;
  assert.equal(room.socket.sent.length, 1);
  assert.equal(room.listening, 0);
});

test('a connection that was replaced while waiting is used', async () => {
  const room = new Room();
  let current: RoomConnection | null = null;
  const asked = execute(() => current, REQUEST, 'id', 5000);
  current = room;
  while (room.socket.sent.length === 0) {
    await turn();
  }
  room.socket.receive(answer('id'));
  await asked;
});

test('waiting for a connection has an end', async () => {
  const room = new Room();
  room.wsconnected = false;
  await assert.rejects(
    execute(() => room, REQUEST, 'id', 20),
    NotConnected
  );
  assert.deepEqual(room.socket.sent, []);
  assert.equal(room.listening, 0);
});

for (const closed of [true, false]) {
  const how = closed ? 'lost' : 'replaced without having been closed';
  test(`the same is sent again on a connection that was ${how}`, async () => {
    const room = new Room();
    const asked = execute(() => room, REQUEST, 'id', 5000);
    await turn();
    const before = room.socket;
    room.synced = false;
    if (closed) {
      before.close();
    }
    await turn();
    room.socket = new Socket();
    room.synchronise();
    await turn();
    assert.deepEqual(room.socket.sent, before.sent);
    assert.equal(before.listening, 0);
    room.socket.receive(answer('id'));
    assert.deepEqual(await asked, RUNS);
    assert.equal(room.listening, 0);
  });
}

test('a connection that is always lost is not tried for ever', async () => {
  const room = new Room();
  const sockets: Socket[] = [];
  const asked = execute(() => room, REQUEST, 'id', 5000);
  for (let time = 0; time < 3; time++) {
    await turn();
    sockets.push(room.socket);
    const lost = room.socket;
    room.socket = new Socket();
    lost.close();
  }
  await assert.rejects(asked, Unanswered);
  assert.deepEqual(
    sockets.map(({ sent }) => sent.length),
    [1, 1, 1]
  );
});
