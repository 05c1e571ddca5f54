import { InputDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Ask } from './stray';

/** The dialog in which a person types what the kernel wants. */
export function askInDialog(trans: Pick<TranslationBundle, '__'>): Ask {
  return async ({ text, password, draft }) => {
    const title = trans.__('Input for a cell that was deleted');
    const options = { title, label: text, okLabel: trans.__('Send') };
    const { button, value } = await (password
      ? InputDialog.getPassword(options)
      : InputDialog.getText({ ...options, text: draft?.toJSON() ?? '' }));
    return button.accept ? (value ?? '') : null;
  };
}
