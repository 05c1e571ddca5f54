import type { CodeCell } from '@jupyterlab/cells';
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { ITranslator, TranslationBundle } from '@jupyterlab/translation';
import type * as Y from 'yjs';

import type { Answers } from './answers';
import type { AskedRuns } from './asked';
import { PromptBox, type Kept } from './box';
import { hindrance, pendingIn, type Hindrance, type Person, type Prompt } from './prompts';
import { documentOf } from './rooms';
import type { StrayPrompts } from './stray';

/** How long a cell may take to appear, in milliseconds: one that is moved is gone for a moment. */
const PATIENCE = 500;

/** So many prompts are remembered that are not there any more. */
const GONE_REMEMBERED = 20;

/** What a page knows for all its notebooks. */
export interface Around {
  answers: Answers;
  asked: AskedRuns;
  stray: StrayPrompts;
  person: () => Person;
  translator: ITranslator;
  trans: TranslationBundle;
}

/**
 * Shows in a notebook what its kernel asks for, each prompt in the outputs of its cell.
 *
 * What is asked is in the document, so it is the same in every tab, whoever has run the cell, and after a reload. A
 * prompt goes in the transaction that brings its echo, so with it. Nothing is written into the document here but what is
 * typed.
 */
export class PendingInput {
  constructor(
    private readonly panel: NotebookPanel,
    private readonly around: Around
  ) {
    const model = panel.context.model;
    this.doc = documentOf(model);
    this.voice = document.createElement('div');
    this.voice.className = 'ydoc-exec-voice';
    this.voice.setAttribute('role', 'status');
    panel.node.append(this.voice);
    this.doc?.getMap('execution').observeDeep(this.update);
    // The notebook was told of its model before, so it has the cells' widgets when we hear of a change.
    model.cells.changed.connect(this.update);
    panel.sessionContext.kernelChanged.connect(this.update);
    this.update();
  }

  /** Stop. What is shown goes with the notebook. */
  dispose(): void {
    this.doc?.getMap('execution').unobserveDeep(this.update);
    this.doc = null;
    this.cancel();
    for (const [id, box] of this.boxes) {
      box.leave();
      this.around.stray.hide(id);
    }
    for (const id of this.known) {
      this.around.stray.hide(id);
    }
  }

  /** Show what the document says. */
  readonly update = (): void => {
    const { doc, panel, around } = this;
    if (!doc || panel.isDisposed) {
      return;
    }
    const { kernelId, prompts } = pendingIn(doc);
    this.drop(new Set(prompts.map(({ id }) => id)));
    const cells = new Map<string, CodeCell>();
    for (const cell of prompts.length > 0 ? panel.content.widgets : []) {
      if (cell.model.type === 'code' && !cell.isDisposed) {
        cells.set(cell.model.id, cell as CodeCell);
      }
    }
    const without: Prompt[] = [];
    for (const prompt of prompts) {
      const isNew = !this.known.has(prompt.id);
      this.known.add(prompt.id);
      const cell = cells.get(prompt.cellId);
      this.place(prompt, cell ?? null, kernelId);
      if (!cell) {
        without.push(prompt);
      }
      if (isNew) {
        this.announce(prompt);
      }
    }
    this.cancel();
    if (without.length > 0) {
      this.timer = setTimeout(() => {
        for (const prompt of without) {
          around.stray.show(prompt, kernelId, this.reason(prompt));
        }
      }, PATIENCE);
    }
    this.tellKernel(kernelId, prompts.length > 0);
  };

  /** Take away the prompts that are not among these. */
  private drop(ids: ReadonlySet<string>): void {
    for (const id of this.known) {
      if (!ids.has(id)) {
        this.known.delete(id);
        this.end(id);
        this.left.delete(id);
        this.around.stray.hide(id);
        this.around.answers.forget(id);
      }
    }
    if (ids.size === 0) {
      this.voice.textContent = '';
    }
  }

  /** It is not asked any more; a server that was restarted may ask it again. */
  private end(id: string): void {
    const box = this.boxes.get(id);
    this.boxes.delete(id);
    if (box && !box.prompt.password) {
      this.gone.set(id, box.kept());
      for (const oldest of this.gone.keys()) {
        if (this.gone.size <= GONE_REMEMBERED) {
          break;
        }
        this.gone.delete(oldest);
      }
    }
    box?.end();
  }

  /** What was typed into a prompt before. The keys are not taken from where they go by now. */
  private takeKept(id: string, cell: CodeCell): Kept | null {
    const left = this.left.get(id);
    const gone = this.gone.get(id);
    this.left.delete(id);
    this.gone.delete(id);
    if (left || !gone) {
      return left ?? null;
    }
    return { ...gone, focused: gone.focused && cell.node.contains(document.activeElement) };
  }

  /** Have a prompt where its cell is now. */
  private place(prompt: Prompt, cell: CodeCell | null, kernelId: string | null): void {
    const { id } = prompt;
    let box = this.boxes.get(id);
    if (box && (box.cell !== cell || box.prompt.draft !== prompt.draft)) {
      this.left.set(id, box.leave());
      this.boxes.delete(id);
      box = undefined;
    }
    if (!cell) {
      return;
    }
    if (!box) {
      this.around.stray.hide(id);
      box = this.make(prompt, cell, kernelId);
      this.boxes.set(id, box);
    }
    box.setAccess(this.reason(prompt), this.around.person().rights?.write !== false);
  }

  private make(prompt: Prompt, cell: CodeCell, kernelId: string | null): PromptBox {
    const { around, panel } = this;
    const { inputHistoryScope, showInputPlaceholder } = panel.content.notebookConfig;
    const kept = this.takeKept(prompt.id, cell);
    // Who has answered the last prompt goes on with this one.
    const goesOn =
      cell.outputArea.node.contains(document.activeElement) &&
      document.activeElement?.closest('.jp-OutputArea-stdin-item');
    const box = new PromptBox(
      cell,
      prompt,
      {
        translator: around.translator,
        inputHistoryScope,
        showInputPlaceholder,
        session: kernelId ?? '',
        label: this.nameOf(prompt)
      },
      {
        send: value => {
          void around.answers.send(prompt, kernelId, value).then(sent => {
            if (!sent) {
              box.renew();
            }
          });
        }
      },
      kept
    );
    if (goesOn) {
      box.focus();
    } else if (!kept) {
      void this.claim(box);
    }
    return box;
  }

  /** Take the person there if it is this page that has run the cell. */
  private async claim(box: PromptBox): Promise<void> {
    if (await this.around.asked.has(box.prompt.runId)) {
      box.claim();
    }
  }

  /** Tell who does not see it. */
  private announce(prompt: Prompt): void {
    this.voice.textContent = this.around.trans.__('A cell asks for input: %1', this.nameOf(prompt));
  }

  private nameOf({ text }: Prompt): string {
    return text.trim() || this.around.trans.__('Input for the running cell');
  }

  private reason(prompt: Prompt): string {
    const found = hindrance(prompt, this.around.person());
    return found ? reasonOf(found, this.around.trans) : '';
  }

  /** JupyterLab asks the connection before it runs what would wait for ever; ours are queued by the server. */
  private tellKernel(kernelId: string | null, pending: boolean): void {
    const kernel = this.panel.sessionContext.session?.kernel;
    if (kernel && (pending ? kernel.id === kernelId && !kernel.hasPendingInput : this.told)) {
      kernel.hasPendingInput = pending;
      this.told = pending;
    }
  }

  private cancel(): void {
    if (this.timer !== null) {
      clearTimeout(this.timer);
      this.timer = null;
    }
  }

  private doc: Y.Doc | null;
  /** What is read aloud. */
  private readonly voice: HTMLElement;
  private readonly known = new Set<string>();
  private readonly boxes = new Map<string, PromptBox>();
  /** What was typed into prompts whose cell is gone. */
  private readonly left = new Map<string, Kept>();
  /** What was typed into prompts that were not asked any more when they were last looked at. */
  private readonly gone = new Map<string, Kept>();
  private timer: ReturnType<typeof setTimeout> | null = null;
  private told = false;
}

function reasonOf(hindrance: Hindrance, trans: TranslationBundle): string {
  switch (hindrance) {
    case 'execute':
      return trans.__(
        'You may not have cells run here, so you cannot answer. Ask somebody who may.'
      );
    case 'write':
      return trans.__(
        'You may only read this notebook, so you cannot answer. Ask somebody who may change it.'
      );
    case 'runner':
      return trans.__('Only who has run the cell may answer. Ask them to.');
  }
}
