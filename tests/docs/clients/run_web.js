// A page's surroundings for web/chat.js, then one life of a session: snippet, service and bearer are the arguments.
const { execFileSync } = require("node:child_process")
const [snippet, service, bearer] = process.argv.slice(2)

const listeners = []
global.document = { visibilityState: "hidden", addEventListener: (name, listener) => listeners.push([name, listener]) }
global.XMLHttpRequest = class {
  open(method, url, isAsync) {
    if (isAsync !== false) throw new Error("the SDK wants the answer at once")
    this.asked = { method, url, headers: {} }
  }
  setRequestHeader(name, value) {
    this.asked.headers[name] = value
  }
  send(body) {
    const program = "const q = JSON.parse(process.argv[1]); fetch(q.url, q).then((a) => a.text()).then((t) => console.log(t))"
    this.responseText = execFileSync(process.execPath, ["-e", program, JSON.stringify({ ...this.asked, body })]).toString()
  }
}
class MIMCUser {
  registerFetchToken(fetcher) {
    this.fetcher = fetcher
  }
  login() {
    console.log("login " + JSON.stringify(this.fetcher()))
  }
  logout() {
    console.log("logout")
  }
}

const { ChatSession } = require(snippet)
const session = new ChatSession(service, new MIMCUser(), () => bearer)
session.toForeground()
for (const state of ["hidden", "visible"]) {
  document.visibilityState = state
  for (const [name, listener] of listeners) if (name === "visibilitychange") listener()
}
session.signOut()
