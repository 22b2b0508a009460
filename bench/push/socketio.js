// Socket.IO: every line of stdin is emitted to every client. Prints its port.
const { createServer } = require("node:http");
const { createInterface } = require("node:readline");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false });
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
createInterface({ input: process.stdin }).on("line", (line) => io.emit("e", JSON.parse(line)));
