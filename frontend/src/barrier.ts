import * as encoding from 'lib0/encoding';
import type * as Y from 'yjs';

/** The number of the raw messages on a room's websocket, beside the messages of the Yjs protocols. */
const RAW_MESSAGE = 2;

/** What is used here of y-websocket's provider, which holds the connection to one room. */
export interface RoomConnection {
  readonly roomname: string;
  readonly doc: Y.Doc;
  readonly ws: WebSocket | null;
  readonly wsconnected: boolean;
  readonly synced: boolean;
  on(event: 'sync', listener: (synced: boolean) => void): void;
  off(event: 'sync', listener: (synced: boolean) => void): void;
}

/** A mark in the stream of edits: whatever was typed before it reaches the server before it. */
export interface Barrier {
  token: string;
  documentId: string;
  /** Whether the connection the mark went out on is still the one in use. A mark dies with its connection. */
  holds: () => boolean;
}

/** The room cannot be reached, so what was typed cannot be on the server. */
export class NotConnected extends Error {
  constructor() {
    super(
      'The connection to the shared notebook is down, so the server does not have the latest edits and ' +
        'nothing was run. Check the connection and run again.'
    );
    this.name = 'NotConnected';
  }
}

/** The message that carries a barrier. */
export function encodeBarrier(token: string): Uint8Array {
  const encoder = encoding.createEncoder();
  encoding.writeVarUint(encoder, RAW_MESSAGE);
  encoding.writeVarString(encoder, 'barrier');
  encoding.writeVarString(encoder, token);
  return encoding.toUint8Array(encoder);
}

/**
 * Mark the stream of edits, after waiting for the connection if need be.
 *
 * The edits travel on the websocket and the request to run on another connection, which may be faster. A
 * state vector in the request could not show that they have arrived, as deletions leave none; a message on the
 * same websocket can, because messages on it keep their order.
 *
 * @param connection Looks the connection up; the stock provider replaces it when it reconnects by itself.
 * @param timeout How long to wait for the connection, in milliseconds.
 */
export async function sendBarrier(
  connection: () => RoomConnection | null,
  newToken: () => string,
  timeout: number
): Promise<Barrier> {
  const deadline = Date.now() + timeout;
  for (;;) {
    const room = connection();
    const socket = room?.ws;
    // Only a connection that is synced has sent what was typed while there was none.
    if (room && socket && room.wsconnected && room.synced && socket.readyState === socket.OPEN) {
      const token = newToken();
      socket.send(encodeBarrier(token));
      const holds = (): boolean => connection()?.ws === socket && socket.readyState === socket.OPEN;
      return { token, documentId: room.roomname, holds };
    }
    const left = deadline - Date.now();
    if (left <= 0) {
      throw new NotConnected();
    }
    await nextSync(room, Math.min(left, 500));
  }
}

/** Wait for the room to synchronise, or for so many milliseconds. */
function nextSync(room: RoomConnection | null, delay: number): Promise<void> {
  return new Promise(resolve => {
    const done = (): void => {
      clearTimeout(timer);
      room?.off('sync', done);
      resolve();
    };
    const timer = setTimeout(done, delay);
    room?.on('sync', done);
  });
}
