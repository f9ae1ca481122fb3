// One signed-in user of a WeChat mini program. There is no synchronous request here: the token is fetched first, and MIMC's
// fetcher returns what was fetched. A mini program gets no alerts: it registers no device.
//
//   const chat = new ChatSession("https://chat.example.com", user, () => bearer)
//   App({ onShow() { chat.toForeground() } })
//
// The service's address must be among the "request" domains of the mini program's console.

class ChatSession {
  constructor(service, user, bearer) {
    this.service = service
    this.user = user
    this.bearer = bearer
    this.token = null
    user.registerFetchToken(() => this.token)
  }

  // From App.onShow: at the start, and each time that the program comes to the foreground. Where no token is given the user
  // stays signed out, and the next time tries again.
  async toForeground() {
    this.token = await this.fetchToken()
    if (this.token.code === 200) this.user.login()
    return this.token.code
  }

  fetchToken() {
    return new Promise((resolve) => {
      wx.request({
        url: this.service + "/api/account/token",
        method: "POST",
        data: {},
        header: { "Content-Type": "application/json", Authorization: "Bearer " + this.bearer() },
        // "text" and a parse of our own: ids of more than 15 digits are texts in MIMC's answer, and stay what they are
        dataType: "text",
        success: (answer) => resolve(JSON.parse(answer.data)),
        fail: () => resolve({ code: 0, message: "no answer", data: null }),
      })
    })
  }

  signOut() {
    this.user.logout()
    this.token = null
  }
}

if (typeof module !== "undefined") module.exports = { ChatSession }
