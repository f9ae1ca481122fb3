// The app's notification service extension: an alert becomes a message of a person, with their picture, in the list of
// conversations and in Focus. It needs iOS 15, apns.communication = true, in the app the capability "Communication
// Notifications", and INSendMessageIntent under NSUserActivityTypes in the app's Info.plist.

import Foundation
import Intents
import UserNotifications

final class NotificationService: UNNotificationServiceExtension {
    private let lock = NSLock()
    private var deliver: ((UNNotificationContent) -> Void)?
    private var original: UNNotificationContent?
    private var picture: URLSessionDataTask?

    override func didReceive(
        _ request: UNNotificationRequest,
        withContentHandler contentHandler: @escaping (UNNotificationContent) -> Void
    ) {
        deliver = contentHandler
        original = request.content
        let told = request.content.userInfo["mimc"] as? [String: Any] ?? [:]
        guard let sender = told["sender"] as? String, let conversation = told["conversation"] as? String else {
            finish(request.content) // the sender is not to be shown, or the service does not say who it is
            return
        }
        fetch(told["avatar"] as? String) { image in
            self.finish(Self.message(
                request.content, sender: sender, conversation: conversation,
                isGroup: told["group"] as? Bool ?? false, image: image
            ))
        }
    }

    // iOS gives an extension about 30 s; then the alert is shown as it came.
    override func serviceExtensionTimeWillExpire() {
        picture?.cancel()
        if let original { finish(original) }
    }

    private func finish(_ content: UNNotificationContent) {
        lock.lock()
        let once = deliver
        deliver = nil
        lock.unlock()
        once?(content)
    }

    private static func message(
        _ content: UNNotificationContent, sender: String, conversation: String, isGroup: Bool, image: INImage?
    ) -> UNNotificationContent {
        let person = INPerson(
            personHandle: INPersonHandle(value: sender, type: .unknown),
            nameComponents: nil,
            displayName: content.title, // the sender's name, as the service shows it
            image: image,
            contactIdentifier: nil,
            customIdentifier: sender
        )
        let intent = INSendMessageIntent(
            recipients: isGroup ? [person] : nil, // a group is one that has recipients and a name
            outgoingMessageType: .outgoingMessageText,
            content: content.body,
            speakableGroupName: isGroup ? INSpeakableString(spokenPhrase: groupName(content)) : nil,
            conversationIdentifier: conversation,
            serviceName: nil,
            sender: person,
            attachments: nil
        )
        let interaction = INInteraction(intent: intent, response: nil)
        interaction.direction = .incoming
        interaction.donate(completion: nil)
        return (try? content.updating(from: intent)) ?? content
    }

    private static func groupName(_ content: UNNotificationContent) -> String {
        content.subtitle.isEmpty ? content.title : content.subtitle
    }

    // A picture that is slow, large or gone is left out. The service passes https addresses alone; a payload is what users
    // wrote, so hold `host` against your own before you fetch anything.
    private func fetch(_ address: String?, then use: @escaping (INImage?) -> Void) {
        guard let address, let url = URL(string: address), url.scheme == "https",
              url.host == "images.example.com" // yours
        else {
            use(nil)
            return
        }
        var request = URLRequest(url: url)
        request.timeoutInterval = 5
        picture = URLSession.shared.dataTask(with: request) { data, response, _ in
            let isGood = (response as? HTTPURLResponse)?.statusCode == 200 && (data?.count ?? 0) <= 1_000_000
            use(isGood ? data.map { INImage(imageData: $0) } : nil)
        }
        picture?.resume()
    }
}
