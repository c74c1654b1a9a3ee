import { defineRemote } from "@portal/ui";
import { QuarantinePage } from "./QuarantinePage";
import styles from "./quarantine.css?inline";

export const { bootstrap, mount, update, unmount } = defineRemote(QuarantinePage, styles);
