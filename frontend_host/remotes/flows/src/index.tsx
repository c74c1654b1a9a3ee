import { defineRemote, matchRoute, useMfe } from "@portal/ui";
import { FlowPage } from "./FlowPage";
import { FlowsPage } from "./list/FlowsPage";
import { styles } from "./styles";

function App() {
  const { pathname } = useMfe().location;
  const flow = matchRoute("/flows/:id", pathname);
  return flow ? <FlowPage key={flow.id} id={flow.id!} /> : <FlowsPage />;
}

export const { bootstrap, mount, update, unmount } = defineRemote(App, styles);
