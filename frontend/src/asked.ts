import type { AcceptedRun } from './api';

/** The runs that this page has asked for, as long as it waits for their ends. */
export class AskedRuns {
  /** Note the runs that a request gives, when it does. */
  async note(request: Promise<AcceptedRun[]>): Promise<AcceptedRun[]> {
    const noted = request.then(
      runs => {
        for (const { run_id } of runs) {
          this.ids.add(run_id);
        }
      },
      () => undefined // for who has made the request
    );
    this.requests.add(noted);
    void noted.then(() => this.requests.delete(noted));
    return request;
  }

  /** Forget runs that are over. */
  forget(runs: readonly AcceptedRun[]): void {
    for (const { run_id } of runs) {
      this.ids.delete(run_id);
    }
  }

  /** Whether this page has asked for a run. It can be under way before the request is answered, so that is waited for. */
  async has(runId: string): Promise<boolean> {
    if (!this.ids.has(runId)) {
      await Promise.all(this.requests);
    }
    return this.ids.has(runId);
  }

  private readonly ids = new Set<string>();
  private readonly requests = new Set<Promise<void>>();
}
