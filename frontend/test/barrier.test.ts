import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as decoding from 'lib0/decoding';
import * as Y from 'yjs';

import { encodeBarrier, NotConnected, sendBarrier, type RoomConnection } from '../src/barrier';

/** A websocket that keeps what is sent. */
class Socket {
  readonly OPEN = 1;
  readyState = 1;
  readonly sent: Uint8Array[] = [];

  send(data: Uint8Array): void {
    this.sent.push(data);
  }
}

/** The connection to a room, with the switch in our hand. */
class Room {
  readonly roomname = 'json:notebook:some-file';
  readonly doc = new Y.Doc();
  readonly socket = new Socket();
  readonly ws = this.socket as unknown as WebSocket;
  wsconnected = true;
  synced = true;
  private readonly listeners = new Set<(synced: boolean) => void>();

  on(_event: 'sync', listener: (synced: boolean) => void): void {
    this.listeners.add(listener);
  }

  off(_event: 'sync', listener: (synced: boolean) => void): void {
    this.listeners.delete(listener);
  }

  synchronise(): void {
    this.synced = true;
    this.listeners.forEach(listener => {
      listener(true);
    });
  }

  get listening(): number {
    return this.listeners.size;
  }
}

test('a barrier is a raw message with its name and its token', () => {
  const decoder = decoding.createDecoder(encodeBarrier('some token'));
  assert.equal(decoding.readVarUint(decoder), 2);
  assert.equal(decoding.readVarString(decoder), 'barrier');
  assert.equal(decoding.readVarString(decoder), 'some token');
  assert.equal(decoding.hasContent(decoder), false);
});

test('a barrier goes out at once on a connection that is synchronised', async () => {
  const room = new Room();
  const barrier = await sendBarrier(
    () => room,
    () => 'token',
    1000
  );
  assert.equal(barrier.token, 'token');
  assert.equal(barrier.documentId, room.roomname);
  assert.deepEqual(room.socket.sent, [encodeBarrier('token')]);
  assert.equal(barrier.holds(), true);
  room.socket.readyState = 3;
  assert.equal(barrier.holds(), false);
});

test('a barrier waits until what was typed offline has been sent', async () => {
  const room = new Room();
  room.synced = false;
  const waiting = sendBarrier(
    () => room,
    () => 'token',
    5000
  );
  await new Promise(resolve => setImmediate(resolve));
  assert.deepEqual(room.socket.sent, []);
  room.synchronise();
  await waiting;
  assert.equal(room.socket.sent.length, 1);
  assert.equal(room.listening, 0);
});

test('a connection that was replaced while waiting is used', async () => {
  const room = new Room();
  let current: RoomConnection | null = null;
  const waiting = sendBarrier(
    () => current,
    () => 'token',
    5000
  );
  current = room;
  await waiting;
  assert.equal(room.socket.sent.length, 1);
});

test('waiting for a connection has an end', async () => {
  const room = new Room();
  room.wsconnected = false;
  await assert.rejects(
    sendBarrier(
      () => room,
      () => 'token',
      20
    ),
    NotConnected
  );
  assert.deepEqual(room.socket.sent, []);
  assert.equal(room.listening, 0);
});
