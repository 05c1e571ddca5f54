import type * as Y from 'yjs';

/** How a run ended. */
export type Outcome = 'ok' | 'error' | 'aborted' | 'cancelled' | 'lost';

/** How a run stands. */
export type RunState = 'queued' | 'running' | 'input' | Outcome;

/** What the server says of a run when it is asked; `unknown` when it does not know it (any more). */
export type Answer = RunState | 'unknown';

/** An entry of the map `now.runs` in the document's root map `execution`, as far as it matters here. */
interface RunEntry {
  run_id: string;
  state: RunState;
}

/** The times after which the server is asked, in milliseconds. */
export interface Patience {
  /** For a run that did not appear in the document. */
  unseen: number;
  /** For a run that the server says is going on, and which is not to be seen, and after a failed question. */
  again: number;
}

const LIVE: readonly RunState[] = ['queued', 'running', 'input'];

/** Whether a run in this state is over. */
export function isOutcome(state: RunState): state is Outcome {
  return !LIVE.includes(state);
}

/** A run whose end somebody waits for. */
interface Awaited {
  cellId: string;
  runId: string;
  resolve: (outcome: Outcome | null) => void;
  /** Whether its entry was ever seen: one that leaves needs an answer at once. */
  seen: boolean;
  timer: ReturnType<typeof setTimeout> | null;
  asking: boolean;
}

/**
 * Follows the runs of some cells in the shared document.
 *
 * The document is what everybody sees, so the end of a run is read there: the server writes it together with the
 * last output and the execution count. Only where the document cannot tell (the entry came and went while this
 * browser was away) is the server asked.
 *
 * Watching starts with the construction, before the request: a run can be over before its request is answered.
 */
export class RunWatch {
  constructor(
    private readonly doc: Y.Doc,
    private readonly cellIds: readonly string[],
    private readonly ask: (runId: string) => Promise<Answer>,
    private readonly patience: Patience = { unseen: 2000, again: 5000 }
  ) {
    this.execution = doc.getMap('execution');
    // Deep, from the root: the server replaces what is in it as a whole.
    this.execution.observeDeep(this.look);
    this.look();
  }

  /** How the run ends; `null` when `forget` or `dispose` came first. `state` is what the server last said. */
  outcome(cellId: string, runId: string, state: RunState): Promise<Outcome | null> {
    return new Promise(resolve => {
      const last = this.states.get(runId) ?? state;
      if (isOutcome(last) || this.disposed) {
        resolve(isOutcome(last) ? last : null);
        return;
      }
      const seen = this.states.has(runId);
      const run: Awaited = { cellId, runId, resolve, seen, timer: null, asking: false };
      this.awaited.add(run);
      this.consider(run);
    });
  }

  /** Ask about every run that is still awaited: after a reconnection the document may have missed its end. */
  async askAll(): Promise<void> {
    for (const run of [...this.awaited]) {
      await this.askAbout(run);
    }
  }

  /** Wait no longer for a cell that is gone from view. */
  forget(cellId: string): void {
    for (const run of this.awaited) {
      if (run.cellId === cellId) {
        this.finish(run, null);
      }
    }
  }

  /** Stop watching. */
  dispose(): void {
    if (this.disposed) {
      return;
    }
    this.disposed = true;
    this.execution.unobserveDeep(this.look);
    for (const run of this.awaited) {
      this.finish(run, null);
    }
  }

  private readonly look = (): void => {
    for (const cellId of this.cellIds) {
      const entry = this.entry(cellId);
      if (entry) {
        this.states.set(entry.run_id, entry.state);
      }
    }
    for (const run of this.awaited) {
      this.consider(run);
    }
  };

  private consider(run: Awaited): void {
    const state = this.states.get(run.runId);
    if (state && isOutcome(state)) {
      this.finish(run, state);
    } else if (this.isVisible(run)) {
      run.seen = true;
      this.cancelTimer(run);
    } else {
      this.askLater(run, run.seen ? 0 : this.patience.unseen);
    }
  }

  private askLater(run: Awaited, delay: number): void {
    if (run.timer === null && !run.asking) {
      run.timer = setTimeout(() => {
        run.timer = null;
        void this.askAbout(run);
      }, delay);
    }
  }

  private async askAbout(run: Awaited): Promise<void> {
    if (run.asking || !this.awaited.has(run)) {
      return;
    }
    this.cancelTimer(run);
    run.asking = true;
    let answer: Answer = 'queued';
    try {
      answer = await this.ask(run.runId);
    } catch {
      // The server cannot be reached now. The run goes on without us, so the question is asked again.
    }
    run.asking = false;
    if (!this.awaited.has(run)) {
      return;
    }
    if (answer === 'unknown') {
      this.finish(run, outcomeInDocument(this.doc, run.cellId));
    } else if (isOutcome(answer)) {
      this.finish(run, answer);
    } else if (!this.isVisible(run)) {
      this.askLater(run, this.patience.again);
    }
  }

  private finish(run: Awaited, outcome: Outcome | null): void {
    this.cancelTimer(run);
    this.awaited.delete(run);
    run.resolve(outcome);
  }

  private cancelTimer(run: Awaited): void {
    if (run.timer !== null) {
      clearTimeout(run.timer);
      run.timer = null;
    }
  }

  private isVisible(run: Awaited): boolean {
    return this.entry(run.cellId)?.run_id === run.runId;
  }

  private entry(cellId: string): RunEntry | undefined {
    const now = this.execution.get('now') as Y.Map<Y.Map<RunEntry>> | undefined;
    return now?.get('runs')?.get(cellId);
  }

  private readonly execution: Y.Map<unknown>;
  private readonly states = new Map<string, RunState>();
  private readonly awaited = new Set<Awaited>();
  private disposed = false;
}

/**
 * What a cell itself says of its last run, for a run nobody remembers.
 *
 * A cell that was run has a count; one that was interrupted before it began, or was cleared since, has none.
 */
export function outcomeInDocument(doc: Y.Doc, cellId: string): Outcome {
  for (const cell of doc.getArray<Y.Map<unknown>>('cells')) {
    if (cell.get('id') !== cellId) {
      continue;
    }
    const outputs = (cell.get('outputs') as Y.Array<unknown> | undefined)?.toJSON() ?? [];
    if (outputs.some(output => (output as { output_type?: unknown }).output_type === 'error')) {
      return 'error';
    }
    return typeof cell.get('execution_count') === 'number' ? 'ok' : 'lost';
  }
  return 'lost';
}
