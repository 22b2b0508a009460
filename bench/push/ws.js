// Node's `ws`: every line of stdin goes to every client. Prints its port.
const { WebSocketServer, WebSocket } = require("ws");
const { createInterface } = require("node:readline");

const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false }, () =>
  console.log(server.address().port),
);
createInterface({ input: process.stdin }).on("line", (line) => {
  for (const client of server.clients) {
    if (client.readyState === WebSocket.OPEN) client.send(line);
  }
});
