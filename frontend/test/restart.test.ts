import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Restarts } from '../src/restart';

/** A session whose kernel restarts when it is told to. */
class Session {
  isRestarting = false;
  readonly slots = new Set<() => void>();

  readonly kernelChanged = {
    connect: (slot: () => void) => Boolean(this.slots.add(slot)),
    disconnect: (slot: () => void) => this.slots.delete(slot)
  };
  readonly disposed = this.kernelChanged;

  end(): void {
    this.isRestarting = false;
    for (const slot of [...this.slots]) {
      slot();
    }
  }
}

function tick(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve));
}

test('a kernel that does not restart keeps nobody', () => {
  const session = new Session();
  assert.equal(new Restarts().of(session), null);
  assert.equal(session.slots.size, 0);
});

test('what is pressed during a restart and what follows from it belong together', async () => {
  const session = new Session();
  const restarts = new Restarts<string>();
  session.isRestarting = true;
  const restart = restarts.of(session);
  assert.ok(restart);
  assert.equal(restarts.of(session), restart);
  let over = false;
  void restart.over.then(() => (over = true));
  await tick();
  assert.equal(over, false);

  session.end();
  await Promise.resolve(); // who waits for the restart goes on
  assert.equal(restarts.of(session), restart);
  await restart.over;
  assert.equal(restarts.of(session), null);
  assert.equal(session.slots.size, 0);

  session.isRestarting = true;
  assert.notEqual(restarts.of(session), restart);
});

test('sessions have nothing to do with each other', () => {
  const one = new Session();
  const other = new Session();
  const restarts = new Restarts<string>();
  one.isRestarting = true;
  assert.ok(restarts.of(one));
  assert.equal(restarts.of(other), null);
});
