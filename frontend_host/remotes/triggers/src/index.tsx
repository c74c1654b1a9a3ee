import { defineRemote, matchRoute, useMfe } from "@portal/ui";
import { TriggerPage } from "./TriggerPage";
import { TriggersPage } from "./TriggersPage";
import styles from "./triggers.css?inline";

function App() {
  const { location } = useMfe();
  const trigger = matchRoute("/triggers/:id", location.pathname);
  return trigger ? <TriggerPage key={trigger.id} id={trigger.id!} /> : <TriggersPage />;
}

export const { bootstrap, mount, update, unmount } = defineRemote(App, styles);
