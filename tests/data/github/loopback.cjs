// Makes every server of a node program listen on this machine only: emulate takes no address.
const net = require("node:net");
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (first, ...rest) {
  const host = "127.0.0.1";
  if (typeof first === "object" && first !== null && first.port !== undefined) {
    return listen.call(this, { ...first, host }, ...rest);
  }
  return listen.call(this, first, host, ...rest.filter((each) => typeof each === "function"));
};
