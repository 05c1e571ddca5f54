import * as decoding from 'lib0/decoding';
import * as encoding from 'lib0/encoding';
import type * as Y from 'yjs';

import { refusal, type AcceptedRun } from './api';

/** The number of the raw messages on a room's websocket, beside the messages of the Yjs protocols. */
const RAW_MESSAGE = 2;

/** So often the same is sent when the connection is lost before there is an answer. */
const ATTEMPTS = 3;

/** What is used here of y-websocket's provider, which holds the connection to one room. */
export interface RoomConnection {
  readonly doc: Y.Doc;
  readonly ws: WebSocket | null;
  readonly wsconnected: boolean;
  readonly synced: boolean;
  on(event: 'sync', listener: (synced: boolean) => void): void;
  off(event: 'sync', listener: (synced: boolean) => void): void;
}

/** What is asked of the server for one gesture. */
export interface ExecuteRequest {
  kernel_id: string;
  cell_ids: string[];
  record_timing: boolean;
}

/** The server's answer, as HTTP would have brought it. */
interface Answer {
  status: number;
  body: unknown;
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

/** The connection was lost again and again before there was an answer. */
export class Unanswered extends Error {
  constructor() {
    super(
      'The connection to the shared notebook was lost before the server said whether it runs this. Look whether it ' +
        'runs; if not, run it again.'
    );
    this.name = 'Unanswered';
  }
}

/** The message that asks for cells to be run. */
export function encodeExecute(id: string, request: ExecuteRequest): Uint8Array {
  const encoder = encoding.createEncoder();
  encoding.writeVarUint(encoder, RAW_MESSAGE);
  encoding.writeVarString(encoder, 'execute');
  encoding.writeVarString(encoder, id);
  encoding.writeVarString(encoder, JSON.stringify(request));
  return encoding.toUint8Array(encoder);
}

/**
 * Have the server run cells as they are now, after waiting for the connection if need be.
 *
 * The request travels on the websocket that the edits travel on: messages on it keep their order, so what was typed
 * before counts and what is typed afterwards does not. When the connection is lost before the answer the same is sent
 * again under the same id, by which the server knows whether it has it already.
 *
 * Throws `Refused`, `NotConnected` or `Unanswered`.
 *
 * @param connection Looks the connection up; the stock provider replaces it when it reconnects by itself.
 * @param timeout How long to wait for the connection, in milliseconds.
 */
export async function execute(
  connection: () => RoomConnection | null,
  request: ExecuteRequest,
  id: string,
  timeout: number
): Promise<AcceptedRun[]> {
  const message = encodeExecute(id, request);
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const [room, socket] = await connected(connection, timeout);
    const answer = await ask(() => connection()?.ws === socket, room, socket, id, message);
    if (answer) {
      return runsIn(answer);
    }
  }
  throw new Unanswered();
}

/** The connection, as soon as it has sent what was typed while there was none. */
async function connected(
  connection: () => RoomConnection | null,
  timeout: number
): Promise<[RoomConnection, WebSocket]> {
  const deadline = Date.now() + timeout;
  for (;;) {
    const room = connection();
    const socket = room?.ws;
    if (room && socket && room.wsconnected && room.synced && socket.readyState === socket.OPEN) {
      return [room, socket];
    }
    const left = deadline - Date.now();
    if (left <= 0) {
      throw new NotConnected();
    }
    await nextSync(room, Math.min(left, 500));
  }
}

/** Send the message, and wait for its answer; `null` if the connection is lost before. */
function ask(
  inUse: () => boolean,
  room: RoomConnection,
  socket: WebSocket,
  id: string,
  message: Uint8Array
): Promise<Answer | null> {
  return new Promise(resolve => {
    const done = (answer: Answer | null): void => {
      socket.removeEventListener('message', onMessage);
      socket.removeEventListener('close', onClose);
      room.off('sync', onSync);
      resolve(answer);
    };
    const onMessage = ({ data }: MessageEvent): void => {
      const answer = answerIn(data, id);
      if (answer) {
        done(answer);
      }
    };
    const onClose = (): void => {
      done(null);
    };
    // A connection that is dead without having been closed may take a minute to say so, and is replaced before.
    const onSync = (): void => {
      if (!inUse()) {
        done(null);
      }
    };
    socket.addEventListener('message', onMessage);
    socket.addEventListener('close', onClose);
    room.on('sync', onSync);
    socket.send(message);
  });
}

/** The answer to the request with this id, if that is what was received. */
function answerIn(data: unknown, id: string): Answer | null {
  if (!(data instanceof ArrayBuffer) || new Uint8Array(data)[0] !== RAW_MESSAGE) {
    return null;
  }
  const decoder = decoding.createDecoder(new Uint8Array(data));
  decoding.readVarUint(decoder);
  const said = JSON.parse(decoding.readVarString(decoder)) as Record<string, unknown>;
  if (said['type'] !== 'execute' || said['responseTo'] !== id) {
    return null;
  }
  return { status: Number(said['status']), body: said['body'] };
}

function runsIn({ status, body }: Answer): AcceptedRun[] {
  if (status >= 400) {
    throw refusal(status, body);
  }
  return (body as { runs: AcceptedRun[] }).runs;
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
