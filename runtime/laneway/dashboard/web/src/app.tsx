/** The page that the address names, within its shell. */

import type { ComponentChildren } from "preact";
import { Component } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { Dead } from "./pages/dead";
import { Lanes } from "./pages/lanes";
import { Login } from "./pages/login";
import { Overview } from "./pages/overview";
import { Submit } from "./pages/submit";
import { TaskPage } from "./pages/task";
import { Tasks } from "./pages/tasks";
import { Workers } from "./pages/workers";
import { catchLinks, go, href, place } from "./router";
import { follows, gone, missing } from "./state/live";
import { firstQueue, loadQueues, queues, queuesRefusal, remember } from "./state/queues";
import { resume, session } from "./state/session";
import { Button, Empty, Loading, Trouble } from "./ui/basics";
import { Shell } from "./ui/shell";
import { Toasts } from "./ui/toasts";

export function App() {
  useEffect(() => {
    document.addEventListener("click", catchLinks);
    return () => document.removeEventListener("click", catchLinks);
  }, []);
  return (
    <>
      <Inside />
      <Toasts />
    </>
  );
}

function Inside() {
  const now = session.value;
  switch (now.at) {
    case "starting":
      return <main class="login"><Loading what="who you are" /></main>;
    case "failed":
      return (
        <main class="login">
          <div class="trouble" role="alert">
            <h1 class="empty-title">The gateway does not answer</h1>
            <p>{now.why}</p>
            <Button onClick={() => void resume()}>Try again</Button>
          </div>
        </main>
      );
    case "login":
      return <Login why={now.why} />;
    case "in":
      return <Home key={now.who.name} />;
  }
}

function Home() {
  const { queue, page, item } = place.value;
  useEffect(() => void loadQueues(), []);
  useEffect(() => () => follows(null), []);
  useEffect(() => {
    if (queue) remember(queue);
    follows(queue);
  }, [queue]);
  const items = queues.value;
  useEffect(() => {
    // The list tells it before the stream is refused.
    if (queue && items && !items.some((one) => one.name === queue)) gone(queue);
  }, [queue, items]);
  useEffect(() => {
    const first = items && firstQueue(items);
    if (!queue && !page && first) go(href(first, "overview"), { replace: true });
  }, [items, queue, page]);
  // Whoever uses the keyboard, or a reader, goes on in the new page and not in what led there. (At once: a moment later it
  // would take the focus from where a key has put it.)
  const shown = useRef<string | null>(null);
  useLayoutEffect(() => {
    const now = `${queue} ${page} ${item}`;
    if (shown.current !== null && shown.current !== now) document.getElementById("main")?.focus({ preventScroll: true });
    shown.current = now;
  }, [queue, page, item]);
  useEffect(() => {
    document.title = [TITLES[page] ?? "", queue ?? "", "Laneway"].filter(Boolean).join(" · ");
  }, [queue, page]);
  return <Shell><Fence key={`${queue} ${page}`}>{queue ? <Page queue={queue} /> : <NoQueue />}</Fence></Shell>;
}

const TITLES: Record<string, string> = {
  overview: "Overview", lanes: "Lanes", tasks: "Tasks", dead: "Dead letters", workers: "Workers", submit: "Submit",
};

function Page({ queue }: { queue: string }) {
  const { page, item } = place.value;
  const known = queues.value;
  if (missing.value === queue || (known && !known.some((one) => one.name === queue))) {
    if (!known?.length) return <Empty title={`There is no queue ${queue} here`} />;
    return <Empty title={`There is no queue ${queue} here`}><p>There {known.length === 1 ? "is" : "are"}: {known.map((one, i) => <>{i > 0 && ", "}<a href={href(one.name, "overview")}>{one.name}</a></>)}</p></Empty>;
  }
  switch (page) {
    case "overview": return <Overview queue={queue} />;
    case "lanes": return <Lanes queue={queue} />;
    case "tasks": return item ? <TaskPage queue={queue} id={item} key={item} /> : <Tasks queue={queue} />;
    case "dead": return <Dead queue={queue} />;
    case "workers": return <Workers queue={queue} />;
    case "submit": return <Submit queue={queue} />;
    default: return <Empty title="There is no such page"><p><a href={href(queue, "overview")}>Go to the overview</a></p></Empty>;
  }
}

function NoQueue() {
  const { page } = place.value;
  if (page === "unknown") return <Empty title="There is no such page"><p><a href="/dashboard/">Go to the first queue</a></p></Empty>;
  if (queuesRefusal.value) return <Trouble refusal={queuesRefusal.value} again={() => void loadQueues()} what="the queues" />;
  if (queues.value?.length === 0) return <Empty title="This gateway serves no queue"><p>Start it with <code>--queue NAME</code>, or apply a TaskQueue.</p></Empty>;
  return <Loading what="the queues" />;
}

/** A page that fails says so, and the others go on. */
class Fence extends Component<{ children: ComponentChildren }, { error: Error | null }> {
  override state = { error: null as Error | null };

  static override getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    return (
      <div class="trouble" role="alert">
        <p class="empty-title">This page failed</p>
        <p>{error.message}</p>
        <Button onClick={() => this.setState({ error: null })}>Show it again</Button>
      </div>
    );
  }
}
