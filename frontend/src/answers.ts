import type { NotificationManager } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import { Refused, type InputApi } from './api';
import type { Prompt } from './prompts';

/** How long it is said that somebody else was faster, in milliseconds. */
const LATE_SHOWN = 8_000;

/**
 * Sends answers to what kernels ask, and says what became of those that were not taken.
 *
 * What was typed is in no message: it may be a secret, and it is still in the field or in its history.
 */
export class Answers {
  constructor(
    private readonly api: Pick<InputApi, 'answer'>,
    private readonly notifications: Pick<NotificationManager, 'notify' | 'dismiss'>,
    private readonly trans: Pick<TranslationBundle, '__'>
  ) {}

  /** Whether the kernel gets it. Never rejects: whatever goes wrong has been said. */
  async send(prompt: Prompt, kernelId: string | null, value: string): Promise<boolean> {
    this.forget(prompt.id);
    try {
      await this.api.answer(kernelId ?? '', {
        run_id: prompt.runId,
        prompt_id: prompt.id,
        value
      });
      return true;
    } catch (error) {
      this.explain(prompt, value, error);
      return false;
    }
  }

  /** Nothing more is to be said about a prompt. Who was too late has still to read it. */
  forget(id: string): void {
    const shown = this.failures.get(id);
    if (shown !== undefined) {
      this.notifications.dismiss(shown);
      this.failures.delete(id);
    }
  }

  private explain(prompt: Prompt, value: string, error: unknown): void {
    const { trans } = this;
    if (error instanceof Refused && error.status === 409) {
      // Two who say the same agree. Of a password nobody is told what was accepted.
      if (prompt.password || acceptedIn(error) !== value) {
        this.late(
          prompt.password
            ? error.message
            : trans.__(
                '%1 What you typed is in the history of the next input (arrow up).',
                error.message
              )
        );
      }
      return;
    }
    const message =
      error instanceof Refused
        ? error.message
        : trans.__(
            'The answer could not be sent: the server cannot be reached. It is still in its field: press Enter there to try again.'
          );
    this.failures.set(
      prompt.id,
      this.notifications.notify(message, 'error', {
        autoClose: false,
        actions: [{ label: trans.__('Dismiss'), callback: (): void => undefined }]
      })
    );
  }

  private late(message: string): void {
    this.notifications.dismiss(this.lastLate);
    this.lastLate = this.notifications.notify(message, 'warning', { autoClose: LATE_SHOWN });
  }

  /** The notifications that go with their prompts, by the prompts' ids. */
  private readonly failures = new Map<string, string>();
  private lastLate = '';
}

function acceptedIn({ body }: Refused): unknown {
  return (body as { value?: unknown } | null)?.value;
}
