import { defineRemote, matchRoute, useMfe } from "@portal/ui";
import { TaskPage } from "./TaskPage";
import { TasksPage } from "./TasksPage";
import styles from "./tasks.css?inline";

function App() {
  const { location } = useMfe();
  const task = matchRoute("/tasks/:id", location.pathname);
  return task ? <TaskPage key={task.id} id={task.id!} /> : <TasksPage />;
}

export const { bootstrap, mount, update, unmount } = defineRemote(App, styles);
