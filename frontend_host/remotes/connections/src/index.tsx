import { defineRemote, matchRoute, useMfe } from "@portal/ui";
import { ConnectionPage } from "./ConnectionPage";
import { ConnectionsPage } from "./ConnectionsPage";
import { CreatePage } from "./CreatePage";
import styles from "./connections.css?inline";

function App() {
  const { pathname } = useMfe().location;
  if (matchRoute("/connections/new", pathname)) return <CreatePage />;
  const one = matchRoute("/connections/:id", pathname);
  return one ? <ConnectionPage key={one.id} id={one.id!} /> : <ConnectionsPage />;
}

export const { bootstrap, mount, update, unmount } = defineRemote(App, styles);
