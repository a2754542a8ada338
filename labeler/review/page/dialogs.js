// The two dialogs: the list of keys, and a note on an image that somebody should look at.

export class Dialogs {
  /** @param parts of the page; @param flag (item, note) keeps a note; @param closed () once a dialog is gone. */
  constructor(parts, flag) {
    this.parts = parts;
    this.item = null;
    const { flag: dialog, "flag-note": note } = parts;
    const save = () => {
      if (!dialog.open) return;
      note.blur(); // closing alone lets go of it only a moment later, and the next key may be there before
      dialog.close();
      flag(this.item, note.value.trim());
    };
    dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      save();
    });
    note.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.repeat) return;
      event.preventDefault();
      save();
    });
  }

  help(open) {
    const { help } = this.parts;
    if (open && !help.open) help.showModal();
    if (!open && help.open) help.close();
  }

  askForNote(item) {
    this.item = item;
    this.parts["flag-note"].value = "";
    this.parts.flag.showModal();
    this.parts["flag-note"].focus();
  }

  leave() {
    this.parts.flag.close();
  }
}
