import type { CodeCell } from '@jupyterlab/cells';
import type { OutputArea, Stdin } from '@jupyterlab/outputarea';
import type { ITranslator } from '@jupyterlab/translation';
import { MessageLoop, type Message } from '@lumino/messaging';
import { Signal } from '@lumino/signaling';
import { Panel, Widget } from '@lumino/widgets';
import type * as Y from 'yjs';

import { Draft } from './draft';
import type { Prompt } from './prompts';

/** How long a field that was answered keeps the keys, in milliseconds; as in `OutputArea.onInputRequest`. */
const HIDING = 500;

/** What is asked of JupyterLab's own widget. */
export interface Look {
  translator: ITranslator;
  inputHistoryScope: 'global' | 'session';
  showInputPlaceholder: boolean;
  /** What names the kernel's session, by which the history can be kept apart. */
  session: string;
  /** What the field is called, for who does not see where it is. */
  label: string;
}

/** What goes on in a field that takes the place of another one. */
export interface Kept {
  value: string;
  selection: [number, number];
  focused: boolean;
  /** Where it was typed for everybody to see. */
  draft: Y.Text | null;
  /** Whether it was changed last from here. */
  mine: boolean;
}

/** What is asked of who made the box. */
export interface Handlers {
  /** Enter was pressed: have the kernel get this. The field takes no keys until there is a new one. */
  send: (value: string) => void;
}

/**
 * One prompt in the output area of its cell.
 *
 * It is JupyterLab's own widget, made by the output area's own factory and put where `OutputArea.onInputRequest` puts it.
 * That one answers the kernel from this page and writes the answer into the outputs; here both is the server's. So what
 * the widget takes for the kernel's future is ours, and nobody waits for its value.
 */
export class PromptBox {
  constructor(
    readonly cell: CodeCell,
    readonly prompt: Prompt,
    private readonly look: Look,
    private readonly handlers: Handlers,
    kept: Kept | null = null
  ) {
    this.area = cell.outputArea;
    this.stdin = this.build(kept);
    this.area.outputLengthChanged.connect(this.onOutputs);
  }

  /**
   * Say who looks at it.
   *
   * @param hindrance Why they cannot answer; the empty string if they can.
   * @param mayWrite Whether they may change the document, and so the draft.
   */
  setAccess(hindrance: string, mayWrite: boolean): void {
    this.hindrance = hindrance;
    this.mayWrite = mayWrite;
    this.applyAccess();
  }

  /** Whether the keys go here. */
  get focused(): boolean {
    return this.input === document.activeElement;
  }

  /**
   * Take the person to it, as JupyterLab does when a cell that they have run asks.
   *
   * The notebook hears of it as of any request for input, and scrolls there. It is not told that the field has gone: it
   * would give the focus to the cell, wherever its user is by then.
   */
  claim(): void {
    if (this.over || this.hindrance) {
      return;
    }
    (this.area.inputRequested as Signal<OutputArea, Stdin>).emit(this.stdin);
    Signal.disconnectSender(this.stdin);
    this.focus();
  }

  /** Have the keys go there. A field that is not in the page gets them when it is. */
  focus(): void {
    this.wanted = !this.stdin.isAttached;
    this.input.focus();
  }

  /** What makes another one go on where this one is. */
  kept(): Kept {
    if (this.stdin.isDisposed && this.last) {
      return this.last;
    }
    const { value, selectionStart, selectionEnd } = this.input;
    const end = value.length;
    return {
      value,
      selection: [selectionStart ?? end, selectionEnd ?? end],
      focused: this.focused,
      draft: this.prompt.draft,
      mine: this.draft?.mine ?? false
    };
  }

  /** A new field in the place of the one that was answered, with what was typed. */
  renew(): void {
    if (!this.over && !this.area.isDisposed) {
      const kept = this.kept();
      this.stdin.parent?.dispose();
      this.stdin = this.build(kept);
    }
  }

  /** Take it away at once; what is returned makes another one go on where this ended. */
  leave(): Kept {
    const kept = this.kept();
    this.finish();
    this.stdin.parent?.dispose();
    return kept;
  }

  /**
   * Take it away, as it was answered or nobody waits for an answer.
   *
   * The keys of who is typing must not go to the notebook, where they are commands. So, as with JupyterLab, the field is
   * there for a moment more, without being seen.
   */
  end(): void {
    this.finish();
    const panel = this.stdin.parent;
    if (!panel || panel.isDisposed) {
      return;
    }
    if (!this.focused) {
      panel.dispose();
      return;
    }
    panel.addClass('jp-OutputArea-stdin-hiding');
    const hide = (): void => {
      const pause = Date.now() - this.lastKey;
      if (this.focused && pause < HIDING) {
        setTimeout(hide, HIDING - pause);
      } else if (!panel.isDisposed) {
        const { cell, focused } = this;
        panel.dispose();
        if (focused && !cell.isDisposed) {
          cell.node.focus();
        }
      }
    };
    setTimeout(hide, HIDING);
  }

  /** Make the widget, as `OutputArea.onInputRequest` does. */
  private build(kept: Kept | null): Stdin {
    const { area, prompt, look } = this;
    const { contentFactory } = area;
    const panel = new Panel();
    panel.addClass('jp-OutputArea-child');
    panel.addClass('jp-OutputArea-stdin-item');
    const outputPrompt = contentFactory.createOutputPrompt();
    outputPrompt.addClass('jp-OutputArea-prompt');
    panel.addWidget(outputPrompt);
    const stdin = contentFactory.createStdin({
      parent_header: { session: look.session } as Stdin.IOptions['parent_header'],
      prompt: prompt.text,
      password: prompt.password,
      future: this.future as unknown as Stdin.IOptions['future'],
      translator: look.translator,
      inputHistoryScope: look.inputHistoryScope,
      showInputPlaceholder: look.showInputPlaceholder
    }) as Stdin;
    stdin.addClass('jp-OutputArea-output');
    panel.addWidget(stdin);
    this.stdin = stdin;
    const { input } = this;
    input.setAttribute('aria-label', look.label);
    this.draft?.dispose();
    this.draft = prompt.draft && new Draft(prompt.draft, input);
    if (kept && (!this.draft || (kept.mine && kept.draft !== prompt.draft))) {
      // The server asks again for what it was asked for before it was restarted, and may not have all that was typed.
      input.value = kept.value;
      this.draft?.push();
    }
    this.listen(stdin);
    this.applyAccess();
    makeRoom(area);
    setPending(area, true);
    area.layout.addWidget(panel);
    if (kept) {
      input.setSelectionRange(...kept.selection);
      if (kept.focused) {
        this.focus();
      }
    }
    return stdin;
  }

  /** See to what the widget does with keys and focus. */
  private listen(stdin: Stdin): void {
    const handle = stdin.handleEvent.bind(stdin);
    stdin.handleEvent = (event: KeyboardEvent): void => {
      this.lastKey = Date.now();
      if (this.over) {
        event.stopPropagation();
        event.preventDefault();
      } else if (event.isComposing) {
        event.stopPropagation(); // this Enter takes what an input method offers
      } else {
        handle(event);
        this.draft?.push(); // what came from the history
      }
    };
    MessageLoop.installMessageHook(stdin, (_, message: Message) => {
      if (message.type === 'before-detach') {
        this.last = this.kept();
      }
      if (message.type !== 'after-attach') {
        return true;
      }
      if (!this.wanted) {
        // It would take the focus, from whatever its user is doing.
        this.input.addEventListener('keydown', stdin);
        return false;
      }
      this.wanted = false;
      return true;
    });
  }

  /** What the widget takes for the request that the kernel is busy with. */
  private readonly future = {
    sendInputReply: ({ value }: { value?: string }): void => {
      if (!this.over && !this.hindrance) {
        this.handlers.send(value ?? '');
      }
    }
  };

  /** Whoever clears the outputs clears all that is in the area. */
  private readonly onOutputs = (): void => {
    if (this.over || this.area.isDisposed) {
      return;
    }
    if (this.stdin.isDisposed) {
      this.stdin = this.build(this.last);
    } else {
      makeRoom(this.area);
    }
  };

  private finish(): void {
    if (this.over) {
      return;
    }
    this.over = true;
    this.draft?.dispose();
    this.draft = null;
    if (!this.area.isDisposed) {
      this.area.outputLengthChanged.disconnect(this.onOutputs);
      setPending(this.area, false);
    }
  }

  private applyAccess(): void {
    const { input, hindrance } = this;
    input.disabled = hindrance !== '';
    if (hindrance) {
      input.title = hindrance;
      return;
    }
    input.removeAttribute('title');
    if (!this.mayWrite) {
      // What they type is theirs until it is sent.
      this.draft?.dispose();
      this.draft = null;
    }
  }

  private get input(): HTMLInputElement {
    const input = this.stdin.node.querySelector('input');
    if (!input) {
      throw new Error('The widget for input has no field.');
    }
    return input;
  }

  private readonly area: OutputArea;
  private stdin: Stdin;
  private draft: Draft | null = null;
  private hindrance = '';
  private mayWrite = true;
  private over = false;
  /** Whether it takes the focus when it comes into the page. */
  private wanted = false;
  /** What there was when the widget was taken out of the page. */
  private last: Kept | null = null;
  private lastKey = 0;
}

/** Have the outputs shown up to the prompt, and the answer below them. */
function makeRoom(area: OutputArea): void {
  const { length } = area.model;
  if (length < area.maxNumberOutputs) {
    return;
  }
  if (length === area.maxNumberOutputs) {
    // The setter removes what is there instead of more outputs. Nothing is yet, so it is given something.
    area.layout.insertWidget(length, new Widget());
  }
  area.maxNumberOutputs = length + 1;
}

/** By this JupyterLab refuses to make something else of the cell (`NotebookActions.changeCellType`). */
function setPending(area: OutputArea, pending: boolean): void {
  (area as unknown as { _pendingInput: boolean })._pendingInput = pending;
}
