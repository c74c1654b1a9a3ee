import { adoptStyles, uiStyles } from "@portal/ui";
import { createRoot } from "react-dom/client";
import { App } from "./components/App";
import { readBootstrap } from "./host/bootstrap";
import { PortalMfeElement } from "./host/PortalMfe";
import { Shell } from "./host/shell";
import styles from "./shell.css?inline";

customElements.define("portal-mfe", PortalMfeElement);
adoptStyles(document, uiStyles);
adoptStyles(document, styles);

const container = document.getElementById("portal");
if (!container) throw new Error("The page has no #portal element.");
createRoot(container).render(<App shell={new Shell(readBootstrap())} />);
