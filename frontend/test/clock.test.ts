import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ServerClock } from '../src/clock';

/** A server whose clock is so far ahead of the page's, in milliseconds. */
function clocks(ahead: number) {
  const state = { here: 1_000_000, asked: 0, reachable: true };
  const there = (): number => state.here + ahead;
  const clock = new ServerClock(
    () => {
      state.asked++;
      // As the header `Date` says it.
      return state.reachable
        ? Promise.resolve(Math.floor(there() / 1000) * 1000)
        : Promise.reject(new Error('nobody there'));
    },
    () => state.here
  );
  return { clock, state, there };
}

for (const ahead of [0, 3_600_000, -3_600_000]) {
  test(`a server's clock that is ${ahead} ms ahead is told within a second, and never too late`, async () => {
    const { clock, state, there } = clocks(ahead);
    state.here += 345;
    await clock.set();
    assert.ok(there() - 1000 < clock.now() && clock.now() <= there());
    state.here += 500;
    const said = there();
    state.here += 20; // on its way
    clock.hear(said);
    assert.equal(clock.now(), there() - 20);
    clock.hear(said - 60_000); // of what began earlier
    clock.hear(NaN);
    assert.equal(clock.now(), there() - 20);
  });
}

test('nothing is known before anything was said', () => {
  const { clock } = clocks(0);
  assert.equal(clock.now(), -Infinity);
});

test('the server is asked now and then, and soon again if it cannot be reached', async () => {
  const { clock, state, there } = clocks(5000);
  state.reachable = false;
  await clock.set();
  await clock.set();
  assert.equal(state.asked, 1);
  state.here += 60_000;
  state.reachable = true;
  await clock.set();
  assert.equal(state.asked, 2);
  assert.equal(clock.now(), there());
  state.here += 60_000;
  await clock.set();
  assert.equal(state.asked, 2);
  state.here += 3_600_000;
  await clock.set();
  assert.equal(state.asked, 3);
});
