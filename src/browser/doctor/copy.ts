/** Copies a field's text. Answers false where that isn't allowed (plain http, old browsers); it is selected then. */
export async function copyText(field: HTMLTextAreaElement): Promise<boolean> {
  // Not to be had outside of secure contexts, whatever the types say.
  const clipboard = navigator.clipboard as Clipboard | undefined;
  try {
    if (clipboard) {
      await clipboard.writeText(field.value);
      return true;
    }
  } catch {
    // Not allowed; the older way may be.
  }
  field.focus();
  field.select();
  try {
    return document.execCommand('copy');
  } catch {
    return false;
  }
}
