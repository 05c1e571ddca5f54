/** What is used here of a session's context. */
export interface Restarting {
  readonly isRestarting: boolean;
  /** Tells, among other things, that a restart is over, however it ended. */
  readonly kernelChanged: Signal;
  readonly disposed: Signal;
}

interface Signal {
  connect(slot: () => void): boolean;
  disconnect(slot: () => void): boolean;
}

/** A restart of a kernel that this page has asked for, and what people wanted to run meanwhile. */
export interface Restart<Item> {
  /** Fulfilled when it is over. */
  readonly over: Promise<void>;
  /** What was sent for those who pressed while it lasted, by what was to run. */
  readonly sent: Map<string, Item[]>;
}

/**
 * Tells which gestures belong to one restart: those made while the kernel restarts, and the one that follows from it.
 *
 * JupyterLab restarts a kernel once when "Restart and run all" is pressed several times, and then runs all cells as many
 * times: at once for all but the first, which comes when the kernel has restarted. What is sent at once may still reach the
 * old process, and the cells would run several times on the new one.
 */
export class Restarts<Item> {
  /** The restart that a gesture which is made now belongs to. */
  of(context: Restarting): Restart<Item> | null {
    const known = this.restarts.get(context);
    if (known || !context.isRestarting) {
      return known ?? null;
    }
    const over = new Promise<void>(resolve => {
      const onChange = (): void => {
        context.kernelChanged.disconnect(onChange);
        context.disposed.disconnect(onChange);
        // What follows from the restart is asked for before the page's next turn.
        setTimeout(() => {
          this.restarts.delete(context);
          resolve();
        });
      };
      context.kernelChanged.connect(onChange);
      context.disposed.connect(onChange);
    });
    const restart = { over, sent: new Map<string, Item[]>() };
    this.restarts.set(context, restart);
    return restart;
  }

  private readonly restarts = new WeakMap<Restarting, Restart<Item>>();
}
