import { defineRemote, matchRoute, useMfe } from "@portal/ui";
import { RunPage } from "./RunPage";
import { RunsPage } from "./RunsPage";
import styles from "./runs.css?inline";

function App() {
  const { location } = useMfe();
  const run = matchRoute("/runs/:id", location.pathname);
  return run ? <RunPage key={run.id} id={run.id!} /> : <RunsPage />;
}

export const { bootstrap, mount, update, unmount } = defineRemote(App, styles);
