import { render } from "preact";
import "uplot/dist/uPlot.min.css";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/parts.css";
import "./styles/pages.css";
import { App } from "./app";
import { resume } from "./state/session";
import { apply } from "./state/theme";

apply();
const root = document.getElementById("app");
if (root) render(<App />, root);
void resume();
