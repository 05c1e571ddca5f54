import type * as Y from 'yjs';

/** At `index` so many characters go, and others come. */
export interface Edit {
  index: number;
  removed: number;
  inserted: string;
}

/** What is used of an `<input>`. */
export type Field = Pick<
  HTMLInputElement,
  | 'value'
  | 'selectionStart'
  | 'selectionEnd'
  | 'setSelectionRange'
  | 'addEventListener'
  | 'removeEventListener'
>;

type Delta = Y.YTextEvent['delta'];

/**
 * Keeps an input field and a shared text the same, whoever types.
 *
 * What is typed here becomes the smallest edit of the text, so that two who type at once lose nothing; what others type
 * is put into the field around the cursor, which stays where it is. While an input method composes a word the field is
 * left alone, and the others see the word when it is done.
 */
export class Draft {
  /** The field shows what the text has. */
  constructor(
    private readonly text: Y.Text,
    private readonly field: Field
  ) {
    this.shown = text.toJSON();
    field.value = this.shown;
    field.addEventListener('input', this.push);
    field.addEventListener('compositionstart', this.compose);
    field.addEventListener('compositionend', this.composed);
    text.observe(this.pull);
  }

  /** Stop; the field keeps what it has. */
  dispose(): void {
    const { field } = this;
    field.removeEventListener('input', this.push);
    field.removeEventListener('compositionstart', this.compose);
    field.removeEventListener('compositionend', this.composed);
    this.text.unobserve(this.pull);
  }

  /** Whether what was done last was done here. */
  get mine(): boolean {
    return this.lastHere;
  }

  /** Give the text what the field has; for changes of the field of which the browser tells nobody. */
  readonly push = (): void => {
    if (this.composing) {
      return;
    }
    const { field, text } = this;
    const missed = this.missed.splice(0);
    const caret = field.selectionEnd ?? field.value.length;
    const edit = difference(this.shown, field.value, caret);
    const place = (position: number): number => missed.reduce(moved, position);
    if (edit) {
      this.lastHere = true;
      const index = place(edit.index);
      const end = Math.max(index, place(edit.index + edit.removed));
      text.doc?.transact(() => {
        text.delete(index, end - index);
        text.insert(index, edit.inserted);
      }, this);
      this.shown = text.toJSON();
      if (missed.length > 0) {
        this.show(() => index + edit.inserted.length);
      }
    } else if (missed.length > 0) {
      this.shown = text.toJSON();
      this.show(place);
    }
  };

  private readonly pull = ({ delta }: Y.YTextEvent, { origin }: Y.Transaction): void => {
    if (origin === this) {
      return;
    }
    this.lastHere = false;
    if (this.composing) {
      this.missed.push(delta);
      return;
    }
    this.shown = this.text.toJSON();
    this.show(position => moved(position, delta));
  };

  private readonly compose = (): void => {
    this.composing = true;
  };

  private readonly composed = (): void => {
    this.composing = false;
    this.push();
  };

  /** Put the text into the field, with the selection where it belongs now. */
  private show(place: (position: number) => number): void {
    const { field, shown } = this;
    if (field.value !== shown) {
      const { selectionStart, selectionEnd } = field;
      field.value = shown;
      if (selectionStart !== null && selectionEnd !== null) {
        field.setSelectionRange(place(selectionStart), place(selectionEnd));
      }
    }
  }

  /** What the text had when the field was last made equal to it. */
  private shown: string;
  private composing = false;
  private lastHere = false;
  /** What others did while a word was composed. */
  private readonly missed: Delta[] = [];
}

/**
 * The one edit that leads from `before` to `after`, or `null` if they are the same.
 *
 * @param caret Where the cursor is in `after`. What is behind it was not touched: of several equal characters, those
 *   before the cursor are the new ones.
 */
export function difference(before: string, after: string, caret: number): Edit | null {
  if (before === after) {
    return null;
  }
  const shorter = Math.min(before.length, after.length);
  let end = commonEnd(before, after, Math.min(shorter, after.length - caret));
  let start = 0;
  while (start < shorter - end && before[start] === after[start]) {
    start++;
  }
  end = commonEnd(before, after, shorter - start);
  // Half of a character must not stay where the other half goes.
  if (splits(before, start) || splits(after, start)) {
    start--;
  }
  if (splits(before, before.length - end) || splits(after, after.length - end)) {
    end--;
  }
  return {
    index: start,
    removed: before.length - end - start,
    inserted: after.slice(start, after.length - end)
  };
}

/** Where a position is after others have edited. What they insert right there comes behind it. */
export function moved(position: number, delta: Delta): number {
  let index = 0;
  for (const { retain, insert, delete: removed } of delta) {
    if (retain !== undefined) {
      index += retain;
    } else if (insert !== undefined) {
      const { length } = insert as string;
      position += index < position ? length : 0;
      index += length;
    } else if (removed !== undefined && index < position) {
      position -= Math.min(removed, position - index);
    }
  }
  return position;
}

function commonEnd(one: string, other: string, most: number): number {
  let length = 0;
  while (length < most && one[one.length - 1 - length] === other[other.length - 1 - length]) {
    length++;
  }
  return length;
}

/** Whether a position is between the two halves of one character. */
function splits(text: string, position: number): boolean {
  return position > 0 && (text.codePointAt(position - 1) ?? 0) > 0xffff;
}
