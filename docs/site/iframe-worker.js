// Browsers start no worker from a folder (file://). There, its script runs in a hidden frame instead, so that
// the search works without a server, and without a script from elsewhere.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const room = frame.contentWindow;
      room.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }));
      this.ready = new Promise((started, failed) => {
        const script = frame.contentDocument.createElement("script");
        script.src = new URL(address, location);
        script.onload = () => started(room);
        script.onerror = failed;
        frame.contentDocument.body.append(script);
      });
      this.ready.catch(() => this.dispatchEvent(new Event("error")));
    }
    postMessage(data) {
      this.ready.then(room => room.dispatchEvent(new MessageEvent("message", { data })));
    }
    terminate() {}
  };
}
