/** The state of saving a draft, as the person sees it. */
export type SaveState =
  | { kind: "saved"; revision: number }
  | { kind: "dirty"; revision: number }
  | { kind: "saving"; revision: number; again: boolean }
  | { kind: "failed"; revision: number; message: string }
  | { kind: "conflict"; revision: number; theirs: number | null };

export type SaveEvent =
  | { type: "edited" }
  | { type: "started" }
  | { type: "stored"; revision: number }
  | { type: "refused"; message: string }
  | { type: "conflicted"; theirs: number | null }
  | { type: "loaded"; revision: number };

/**
 * saved → dirty → saving → saved; an edit while saving is saved afterwards; a conflict stays until someone decides.
 */
export function nextSaveState(state: SaveState, event: SaveEvent): SaveState {
  switch (event.type) {
    case "loaded":
      return { kind: "saved", revision: event.revision };
    case "edited":
      if (state.kind === "conflict") return state;
      if (state.kind === "saving") return { ...state, again: true };
      return { kind: "dirty", revision: state.revision };
    case "started":
      return { kind: "saving", revision: state.revision, again: false };
    case "stored":
      return state.kind === "saving" && state.again
        ? { kind: "dirty", revision: event.revision }
        : { kind: "saved", revision: event.revision };
    case "refused":
      return { kind: "failed", revision: state.revision, message: event.message };
    case "conflicted":
      return { kind: "conflict", revision: state.revision, theirs: event.theirs };
  }
}
