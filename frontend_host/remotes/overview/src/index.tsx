import { defineRemote } from "@portal/ui";
import { OverviewPage } from "./OverviewPage";
import styles from "./overview.css?inline";

export const { bootstrap, mount, update, unmount } = defineRemote(OverviewPage, styles);
