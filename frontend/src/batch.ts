/**
 * Gathers what is added in one go and hands it on together, one batch after the other.
 *
 * JupyterLab calls the executor once per cell, synchronously for all cells of a gesture ("Run All"). Sent one by
 * one these requests would overtake each other on the network, and the cells would run in another order.
 */
export class BatchQueue<Item> {
  /**
   * @param send Deals with a batch. The next batch waits for its promise; it must not reject, because nobody
   *   is there to be told.
   * @param same Whether two items cannot travel together; the second then begins a batch of its own.
   */
  constructor(
    private readonly send: (items: Item[]) => Promise<void>,
    private readonly same: (one: Item, other: Item) => boolean = () => false
  ) {}

  /** Add an item to the batch that is being gathered. Adding is never awaited: the microtask flushes. */
  add(item: Item): void {
    if (this.gathering && !this.gathering.some(other => this.same(item, other))) {
      this.gathering.push(item);
      return;
    }
    const items = [item];
    this.gathering = items;
    queueMicrotask(() => {
      if (this.gathering === items) {
        this.gathering = null;
      }
      this.last = this.last.then(() => this.send(items));
    });
  }

  private gathering: Item[] | null = null;
  private last: Promise<void> = Promise.resolve();
}
