import type { NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import type * as Y from 'yjs';

import type { ServerClock } from './clock';
import { labelsOf, type Label } from './labels';
import { isLive, liveRuns, type LiveRuns } from './live';
import { Progress, type Parent } from './progress';
import { documentOf } from './rooms';

/** How long changes are gathered before they are shown, in milliseconds: many cells take less. */
const GATHERED = 300;

const SECOND = 1000;

/** The attributes of a prompt from which `style/index.css` makes what is shown. */
const SHORT = 'data-ydoc-exec-run';
const STATE = 'data-ydoc-exec-state';
const BY = 'data-ydoc-exec-by';
const ATTRIBUTES = [SHORT, STATE, BY, 'role', 'aria-label', 'title'];

/** What a page knows for all its notebooks. */
export interface Surroundings {
  clock: ServerClock;
  /** The account of who uses the page; `null` while that is not known. */
  me: () => string | null;
  trans: TranslationBundle;
  /** Where there are indicators of progress besides the notebooks' toolbars. */
  bars: () => Iterable<Parent>;
}

/**
 * Shows beside the prompts of a notebook which of its cells wait for which turn, and for how long one runs; and says so
 * to JupyterLab's own indicator of progress.
 *
 * All of it is read from the document, so it is the same in every tab, whoever runs what, and after a reload. Nothing is
 * written there. What is shown is in attributes of the prompts, which take no room and of which nothing is left when
 * the run has ended; a cell that is scrolled into view gets its own within a second.
 */
export class RunStatus {
  constructor(
    private readonly panel: NotebookPanel,
    private readonly around: Surroundings,
    labels: boolean
  ) {
    this.doc = documentOf(panel.context.model);
    this.labels = labels;
    this.progress = new Progress(panel.content, () => [panel.toolbar, ...around.bars()]);
    this.doc?.getMap('execution').observeDeep(this.changed);
    this.changed();
  }

  /** Whether anything is shown beside the prompts. */
  set showLabels(labels: boolean) {
    this.labels = labels;
    this.changed();
  }

  dispose(): void {
    this.doc?.getMap('execution').unobserveDeep(this.changed);
    this.doc = null;
    this.cancel();
    this.mark(new Map());
  }

  private readonly changed = (): void => {
    const { doc } = this;
    if (!doc) {
      return;
    }
    for (const [prompt, cellId] of this.marked) {
      if (!isLive(doc, cellId)) {
        clear(prompt);
        this.marked.delete(prompt);
      }
    }
    if (!this.soon) {
      this.cancel();
      this.soon = true;
      this.timer = setTimeout(this.show, GATHERED);
    }
  };

  private readonly show = (): void => {
    const { doc, around } = this;
    this.cancel();
    if (!doc || this.panel.isDisposed) {
      return;
    }
    const live = liveRuns(doc);
    const { clock, me, trans } = around;
    if (live.runs.length > 0) {
      clock.hear(Math.max(live.since ?? 0, ...live.runs.map(run => run.startedAt ?? 0)));
      void clock.set();
      this.timer = setTimeout(this.show, untilNextSecond(live, clock.now()));
    }
    this.mark(this.labels ? labelsOf(live, clock.now(), me(), trans) : new Map<string, Label>());
    this.progress.show(live, clock.now());
  };

  /** Show these, by the ids of their cells, and no others. */
  private mark(labels: Map<string, Label>): void {
    const prompts = new Map<HTMLElement, string>();
    for (const cell of labels.size > 0 ? this.panel.content.widgets : []) {
      const label = cell.model.type === 'code' ? labels.get(cell.model.id) : undefined;
      // Cells out of view are not in the page, or not made yet; and a folded one has another prompt.
      const prompt = label && cell.node.isConnected ? cell.promptNode : null;
      if (label && prompt) {
        prompts.set(prompt, cell.model.id);
        write(prompt, label);
      }
    }
    for (const prompt of this.marked.keys()) {
      if (!prompts.has(prompt)) {
        clear(prompt);
      }
    }
    this.marked = prompts;
  }

  private cancel(): void {
    this.soon = false;
    if (this.timer !== null) {
      clearTimeout(this.timer);
      this.timer = null;
    }
  }

  private doc: Y.Doc | null;
  private labels: boolean;
  private readonly progress: Progress;
  /** The prompts that show something, and whose they are. */
  private marked = new Map<HTMLElement, string>();
  private timer: ReturnType<typeof setTimeout> | null = null;
  private soon = false;
}

function write(prompt: HTMLElement, { state, short, by, sentence }: Label): void {
  set(prompt, SHORT, short);
  set(prompt, STATE, state);
  set(prompt, BY, by);
  // What has this role is not read aloud whenever it changes.
  set(prompt, 'role', state === 'queued' ? 'note' : 'timer');
  set(prompt, 'aria-label', sentence);
  set(prompt, 'title', sentence);
}

function set(node: HTMLElement, name: string, value: string): void {
  if (node.getAttribute(name) !== value) {
    node.setAttribute(name, value);
  }
}

function clear(prompt: HTMLElement): void {
  for (const name of ATTRIBUTES) {
    prompt.removeAttribute(name);
  }
}

/** How long it is until the time that is shown is another one, in milliseconds. */
function untilNextSecond({ runs, since }: LiveRuns, now: number): number {
  const begin = runs.find(run => run.startedAt !== null)?.startedAt ?? since ?? now;
  return SECOND - (Math.max(0, now - begin) % SECOND);
}
