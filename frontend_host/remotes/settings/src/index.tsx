import { defineRemote } from "@portal/ui";
import { SettingsApp } from "./SettingsApp";
import styles from "./settings.css?inline";

export const { bootstrap, mount, update, unmount } = defineRemote(SettingsApp, styles);
