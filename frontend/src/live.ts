import type * as Y from 'yjs';

/** A run that has not ended. */
export interface LiveRun {
  cellId: string;
  state: 'queued' | 'running' | 'input';
  /** Runs begin in the order of these. */
  seq: number;
  /** Whose it is: the name of an account, and what to call its owner. */
  user: string;
  name: string;
  /** When the kernel got it, by the server's clock, in milliseconds. */
  startedAt: number | null;
  /** When it asked for the input that it waits for, in the same way. */
  askedAt: number | null;
}

/** The runs of a document that have not ended, and what went before them without a pause. */
export interface LiveRuns {
  /** In their order. */
  runs: LiveRun[];
  /** How many there were, with those that have ended since there was none. */
  total: number;
  /** When the first of all was queued, by the server's clock, in milliseconds. */
  since: number | null;
}

/** What the map `execution.now` of a document says (`notebook/notebook.py`). Anybody who can edit can write anything there. */
export function liveRuns(doc: Y.Doc): LiveRuns {
  const now = mapOf(doc.getMap('execution').get('now'));
  const runs: LiveRun[] = [];
  mapOf(now?.get('runs'))?.forEach((entry: unknown, cellId: string) => {
    const run = readRun(cellId, entry);
    if (run) {
      runs.push(run);
    }
  });
  mapOf(now?.get('prompts'))?.forEach((entry: unknown) => {
    const prompt = mapOf(entry);
    const run = runs.find(({ cellId }) => cellId === prompt?.get('cell_id'));
    if (run) {
      run.askedAt = timeOf(prompt?.get('asked_at'));
    }
  });
  runs.sort((one, other) => one.seq - other.seq);
  const total = now?.get('total');
  return {
    runs,
    total: Math.max(runs.length, typeof total === 'number' ? total : 0),
    since: timeOf(now?.get('since'))
  };
}

/** Whether a cell has a run that has not ended. */
export function isLive(doc: Y.Doc, cellId: string): boolean {
  const runs = mapOf(mapOf(doc.getMap('execution').get('now'))?.get('runs'));
  return readRun(cellId, runs?.get(cellId)) !== null;
}

function readRun(cellId: string, entry: unknown): LiveRun | null {
  const { state, seq, user, name, started_at } = (entry ?? {}) as Record<string, unknown>;
  if (state !== 'queued' && state !== 'running' && state !== 'input') {
    return null;
  }
  const account = typeof user === 'string' ? user : '';
  return {
    cellId,
    state,
    seq: typeof seq === 'number' ? seq : 0,
    user: account,
    name: typeof name === 'string' && name ? name : account,
    startedAt: timeOf(started_at),
    askedAt: null
  };
}

/** A shared map, if it is one. */
export function mapOf(value: unknown): Y.Map<unknown> | null {
  const map = value as Partial<Y.Map<unknown>> | null | undefined;
  return typeof map?.forEach === 'function' && typeof map.get === 'function'
    ? (map as Y.Map<unknown>)
    : null;
}

/** A time in milliseconds, if it is one. */
export function timeOf(value: unknown): number | null {
  const time = typeof value === 'string' ? Date.parse(value) : NaN;
  return Number.isNaN(time) ? null : time;
}
