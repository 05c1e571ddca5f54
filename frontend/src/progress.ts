import { ExecutionIndicator, type Notebook } from '@jupyterlab/notebook';

import type { LiveRuns } from './live';

/** What is used of a Lumino widget. */
export interface Parent {
  children: () => Iterable<Parent>;
}

/**
 * Has JupyterLab's own indicator of a notebook's progress show the runs that the server has.
 *
 * `ExecutionIndicator` of `@jupyterlab/notebook` counts the requests that its page sends to the kernel. Here the page
 * sends none, and after a reload it would know of none. What it counts with is public (`model.executionState`), so it is
 * told: how many cells, how many of them are over, and since when.
 */
export class Progress {
  /**
   * @param notebook What is shown.
   * @param places Where the indicators may be: one in the notebook's toolbar, one in the status bar. They come and go
   *   with the settings and the width of the window.
   */
  constructor(
    private readonly notebook: Notebook,
    private readonly places: () => Iterable<Parent>
  ) {}

  /** Show how far these are, at this time by the server's clock, in milliseconds. */
  show({ runs, total, since }: LiveRuns, now: number): void {
    if (runs.length === 0) {
      this.end();
      return;
    }
    const seconds = Math.max(0, Math.floor((now - (since ?? now)) / 1000));
    this.shown = { total, seconds };
    this.tell(state => {
      window.clearInterval(state.interval);
      window.clearTimeout(state.timeout);
      state.executionStatus = 'busy';
      state.scheduledCell = new Set(runs.map(run => run.cellId));
      state.scheduledCellNumber = total;
      state.totalTime = seconds;
      state.needReset = false;
    });
  }

  /** Nothing runs any more; what ran last stays to be read, as ever. */
  private end(): void {
    const { shown } = this;
    if (!shown) {
      return;
    }
    this.shown = null;
    this.tell(state => {
      state.executionStatus = 'idle';
      state.scheduledCell = new Set();
      state.scheduledCellNumber = shown.total;
      state.totalTime = shown.seconds;
      state.needReset = true;
    });
  }

  private tell(change: (state: ExecutionIndicator.IExecutionState) => void): void {
    for (const indicator of indicatorsIn(this.places())) {
      this.known.add(indicator);
    }
    for (const indicator of this.known) {
      if (indicator.isDisposed) {
        this.known.delete(indicator);
        continue;
      }
      const { model } = indicator;
      const state = model.executionState(this.notebook);
      if (state) {
        change(state);
        model.stateChanged.emit();
      }
    }
  }

  private readonly known = new Set<ExecutionIndicator>();
  private shown: { total: number; seconds: number } | null = null;
}

function* indicatorsIn(places: Iterable<Parent>): Generator<ExecutionIndicator> {
  for (const place of places) {
    if (place instanceof ExecutionIndicator) {
      yield place;
    } else {
      yield* indicatorsIn(place.children());
    }
  }
}
