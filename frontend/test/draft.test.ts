import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import * as Y from 'yjs';

import { difference, Draft, moved } from '../src/draft';

/** An `<input>` as far as a draft uses one: setting its value puts the cursor at the end, as in a browser. */
class Input extends EventTarget {
  selectionStart = 0;
  selectionEnd = 0;

  get value(): string {
    return this.content;
  }

  set value(value: string) {
    this.content = value.replaceAll(/[\r\n]/g, '');
    this.setSelectionRange(value.length, value.length);
  }

  setSelectionRange(start: number, end: number): void {
    this.selectionStart = Math.min(start, this.content.length);
    this.selectionEnd = Math.min(end, this.content.length);
  }

  /** Type over what is selected. */
  type(text: string): void {
    const { content, selectionStart, selectionEnd } = this;
    this.value = content.slice(0, selectionStart) + text + content.slice(selectionEnd);
    this.setSelectionRange(selectionStart + text.length, selectionStart + text.length);
    this.dispatchEvent(new Event('input'));
  }

  private content = '';
}

/** A tab with the prompt's field. */
class Tab {
  readonly doc = new Y.Doc();
  readonly input = new Input();
  updates: Uint8Array[] = [];
  draft: Draft | null = null;

  open(state: Uint8Array): void {
    Y.applyUpdate(this.doc, state);
    this.doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin !== 'network') {
        this.updates.push(update);
      }
    });
    this.draft = new Draft(this.text, this.input);
  }

  get text(): Y.Text {
    return this.doc.getText('value');
  }

  take(updates: Uint8Array[]): void {
    for (const update of updates) {
      Y.applyUpdate(this.doc, update, 'network');
    }
  }
}

let tabs: [Tab, Tab];

beforeEach(() => {
  const server = new Y.Doc();
  server.getText('value').insert(0, 'Ada');
  tabs = [new Tab(), new Tab()];
  for (const tab of tabs) {
    tab.open(Y.encodeStateAsUpdate(server));
  }
});

/** Have both tabs get what the other one has sent. */
function exchange(): void {
  const [one, other] = tabs;
  const [ours, theirs] = [one.updates.splice(0), other.updates.splice(0)];
  one.take(theirs);
  other.take(ours);
}

test('the edit is the one that was made where the cursor is', () => {
  const cases: [string, string, number, [number, number, string] | null][] = [
    ['Ada', 'Ada', 3, null],
    ['', 'Ada', 3, [0, 0, 'Ada']],
    ['aa', 'aaa', 3, [2, 0, 'a']],
    ['aa', 'aaa', 1, [0, 0, 'a']],
    ['aaa', 'aa', 1, [1, 1, '']],
    ['hello', 'hallo', 5, [1, 1, 'a']],
    ['one two', 'one', 3, [3, 4, '']],
    ['abc', 'xyz', 3, [0, 3, 'xyz']],
    ['abab', 'ab', 2, [2, 2, '']],
    ['😀', '😁', 2, [0, 2, '😁']],
    ['a😀b', 'a😀😀b', 5, [3, 0, '😀']],
    ['🐈x', '😀x', 2, [0, 2, '😀']]
  ];
  for (const [before, after, caret, expected] of cases) {
    const edit = difference(before, after, caret);
    assert.deepEqual(
      edit && [edit.index, edit.removed, edit.inserted],
      expected,
      `${before} ${after}`
    );
  }
});

test('a position stays with what it is beside', () => {
  const cases: [number, Y.YTextEvent['delta'], number][] = [
    [2, [{ insert: 'xyz' }], 5],
    [0, [{ insert: 'xyz' }], 0],
    [2, [{ retain: 2 }, { insert: 'x' }], 2],
    [2, [{ retain: 3 }, { insert: 'x' }], 2],
    [5, [{ retain: 1 }, { delete: 2 }], 3],
    [2, [{ retain: 1 }, { delete: 5 }], 1],
    [4, [{ delete: 1 }, { retain: 1 }, { insert: 'xy' }, { delete: 1 }], 4]
  ];
  for (const [position, delta, expected] of cases) {
    assert.equal(moved(position, delta), expected, JSON.stringify([position, delta]));
  }
});

test('the field begins with what others have typed', () => {
  assert.deepEqual(
    tabs.map(({ input }) => input.value),
    ['Ada', 'Ada']
  );
  assert.deepEqual(
    tabs.map(({ updates }) => updates.length),
    [0, 0]
  );
});

test('two who type at once lose nothing, and each keeps the cursor', () => {
  const [one, other] = tabs;
  one.input.setSelectionRange(0, 0);
  one.input.type('Countess ');
  other.input.setSelectionRange(3, 3);
  other.input.type(' Lovelace');
  exchange();
  for (const { input, text } of tabs) {
    assert.equal(input.value, 'Countess Ada Lovelace');
    assert.equal(text.toJSON(), input.value);
  }
  assert.equal(one.input.selectionEnd, 9);
  assert.equal(other.input.selectionEnd, 21);
});

test('what comes from the history is shared when it is asked for', () => {
  const [one, other] = tabs;
  one.input.value = 'yesterday';
  one.draft?.push();
  exchange();
  assert.equal(other.input.value, 'yesterday');
});

test('a word that is being composed is left alone, and nothing of it or of others is lost', () => {
  const [one, other] = tabs;
  one.input.setSelectionRange(3, 3);
  one.input.dispatchEvent(new Event('compositionstart'));
  one.input.type('に');
  other.input.setSelectionRange(0, 0);
  other.input.type('> ');
  exchange();
  assert.equal(one.input.value, 'Adaに');
  assert.equal(other.input.value, '> Ada');
  one.input.setSelectionRange(3, 4);
  one.input.type('日本');
  one.input.dispatchEvent(new Event('compositionend'));
  exchange();
  assert.deepEqual(
    tabs.map(({ input }) => input.value),
    ['> Ada日本', '> Ada日本']
  );
  assert.equal(one.input.selectionEnd, 7);
});

test('a word that was composed and given up leaves what others did', () => {
  const [one, other] = tabs;
  one.input.dispatchEvent(new Event('compositionstart'));
  other.input.setSelectionRange(0, 3);
  other.input.type('Grace');
  exchange();
  one.input.dispatchEvent(new Event('compositionend'));
  assert.equal(one.input.value, 'Grace');
});

test('a field that is done with is left alone, and leaves the text alone', () => {
  const [one, other] = tabs;
  one.draft?.dispose();
  other.input.type('x');
  one.input.type('y');
  exchange();
  assert.equal(one.input.value, 'Aday');
  assert.equal(other.input.value, 'Adax');
});

test('whatever two do, they end with the same', () => {
  let seed = 7;
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return Math.floor((seed / 2147483648) * below);
  };
  const words = ['', 'a', 'aa', 'é', '😀', '😁', '👩‍🚀', 'ab a'];
  for (let round = 0; round < 500; round++) {
    for (const { input } of tabs) {
      // A cursor is never between the two halves of a character.
      const characters = Array.from(input.value);
      const start = random(characters.length + 1);
      const place = (count: number): number => characters.slice(0, count).join('').length;
      input.setSelectionRange(place(start), place(start + random(4)));
      input.type(words[random(words.length)] ?? '');
    }
    if (random(3) === 0) {
      exchange();
      const [one, other] = tabs.map(({ input, text }) => [input.value, text.toJSON()]);
      assert.deepEqual(one, other);
      assert.equal(one?.[0], one?.[1]);
    }
  }
});
