import type { NotificationManager } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Answers } from './answers';
import type { InputApi } from './api';
import type { Prompt } from './prompts';

/** Asks a person for what the kernel wants; `null` if they would rather not say. */
export type Ask = (prompt: Prompt) => Promise<string | null>;

/** Shows prompts whose cells are gone, so that there is a way out for the kernel that waits. */
export class StrayPrompts {
  constructor(
    private readonly answers: Pick<Answers, 'send'>,
    private readonly api: Pick<InputApi, 'interrupt'>,
    private readonly notifications: Pick<NotificationManager, 'notify' | 'dismiss'>,
    private readonly trans: Pick<TranslationBundle, '__'>,
    private readonly ask: Ask
  ) {}

  /**
   * Show a prompt, once on a page until it is hidden.
   *
   * @param hindrance Why it cannot be answered here; the empty string if it can.
   */
  show(prompt: Prompt, kernelId: string | null, hindrance: string): void {
    if (this.shown.has(prompt.id) || kernelId === null) {
      return;
    }
    const { trans } = this;
    const text = trans.__('A cell that was deleted waits for input: %1', prompt.text.trim() || '…');
    const answer = {
      label: trans.__('Answer'),
      caption: trans.__('Type what the kernel waits for'),
      callback: (): void => {
        void this.answer(prompt, kernelId, hindrance);
      }
    };
    const interrupt = {
      label: trans.__('Interrupt'),
      caption: trans.__('Interrupt the kernel, so that it waits no longer'),
      callback: (): void => {
        void this.interrupt(prompt, kernelId, hindrance);
      }
    };
    this.shown.set(
      prompt.id,
      this.notifications.notify(hindrance ? `${text} ${hindrance}` : text, 'warning', {
        autoClose: false,
        actions: hindrance ? [interrupt] : [answer, interrupt]
      })
    );
  }

  /** A prompt is over, or has a cell again. */
  hide(id: string): void {
    const shown = this.shown.get(id);
    if (shown !== undefined) {
      this.notifications.dismiss(shown);
      this.shown.delete(id);
    }
  }

  private async answer(prompt: Prompt, kernelId: string, hindrance: string): Promise<void> {
    const value = await this.ask(prompt);
    if (value === null || !(await this.answers.send(prompt, kernelId, value))) {
      this.again(prompt, kernelId, hindrance);
    }
  }

  private async interrupt(prompt: Prompt, kernelId: string, hindrance: string): Promise<void> {
    try {
      await this.api.interrupt(kernelId);
    } catch (error) {
      this.notifications.notify(error instanceof Error ? error.message : String(error), 'error', {
        autoClose: false
      });
      this.again(prompt, kernelId, hindrance);
    }
  }

  /** A button closes its notification; if the prompt is still there, so must be the way out. */
  private again(prompt: Prompt, kernelId: string, hindrance: string): void {
    if (this.shown.delete(prompt.id)) {
      this.show(prompt, kernelId, hindrance);
    }
  }

  /** The notifications on this page, by the prompts' ids. */
  private readonly shown = new Map<string, string>();
}
