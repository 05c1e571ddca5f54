/** How long to go on with what the server said of its time, and with no answer, in milliseconds. */
const FRESH = 600_000;
const AGAIN = 10_000;

/**
 * The server's clock, as far as this page knows it. The two need not agree.
 *
 * Whatever time the server has written down is past when it is read here, so each of them says how far its clock is
 * ahead at least. The largest of these is right but for what the message took that said it: the start of a run that was
 * seen as it happened, or, for who came later, the `Date` of an answer, which is cut to whole seconds.
 */
export class ServerClock {
  /**
   * @param ask Asks the server for its time, in milliseconds.
   * @param here This page's clock.
   */
  constructor(
    private readonly ask: () => Promise<number>,
    private readonly here: () => number = Date.now
  ) {}

  /** The server has said this time, in milliseconds. */
  hear(time: number): void {
    if (Number.isFinite(time)) {
      this.ahead = Math.max(this.ahead, time - this.here());
    }
  }

  /** What time it is there, in milliseconds; never later than it is. `-Infinity` if nothing is known of it. */
  now(): number {
    return this.here() + this.ahead;
  }

  /** Ask the server, unless that was done a short while ago. Never rejects. */
  async set(): Promise<void> {
    if (this.here() < this.due) {
      return;
    }
    this.due = this.here() + AGAIN;
    try {
      this.hear(await this.ask());
      this.due = this.here() + FRESH;
    } catch {
      // It cannot be reached now: what is known of its time stays, and it is asked again.
    }
  }

  private ahead = -Infinity;
  private due = -Infinity;
}
