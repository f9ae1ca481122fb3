// One signed-in user of this iPhone: the MIMC token, the push token, and the end of both. For MIMC's iOS SDK 2.2.2 and
// later; an earlier one takes the NSMutableURLRequest in MCUser's initializer and hands what came to -parseToken:, which
// returns it as text.

#import <Foundation/Foundation.h>
#import <MMCSDK/MMCSDK.h>

typedef NSString * _Nonnull (^Bearer)(void); // of your own backend, asked for anew each time because it may expire

@interface ChatSession : NSObject <parseTokenDelegate>
@property (nonatomic, readonly) MCUser *user;
@end

@implementation ChatSession {
    NSURL *_service;
    Bearer _bearer;
}

// `service` is like https://chat.example.com
- (instancetype)initWithService:(NSURL *)service user:(MCUser *)user bearer:(Bearer)bearer {
    if ((self = [super init])) {
        _service = service;
        _bearer = bearer;
        _user = user;
        user.parseTokenDelegate = self;
    }
    return self;
}

// From application:didFinishLaunchingWithOptions: and each applicationWillEnterForeground:; what came meanwhile is
// delivered then.
- (void)toForeground {
    [self.user login];
}

// MIMC's own answer must reach the SDK unchanged.
- (void)parseProxyServiceToken:(void (^)(NSData *data))callback {
    NSMutableURLRequest *request = [self request:@"POST" path:@"api/account/token" body:@{}];
    [[NSURLSession.sharedSession dataTaskWithRequest:request
                                   completionHandler:^(NSData *data, NSURLResponse *response, NSError *error) {
        callback(data);
    }] resume];
}

// From application:didRegisterForRemoteNotificationsWithDeviceToken:, at each start: the device token may change.
- (void)registerDevice:(NSString *)deviceId pushToken:(NSData *)pushToken sandbox:(BOOL)sandbox {
    NSMutableString *hex = [NSMutableString string];
    const unsigned char *bytes = pushToken.bytes;
    for (NSUInteger place = 0; place < pushToken.length; place++) {
        [hex appendFormat:@"%02x", bytes[place]];
    }
    NSDictionary *body = @{
        @"platform": @"apns",
        @"push_token": hex,
        @"environment": sandbox ? @"sandbox" : @"production", // sandbox: started from Xcode
        @"locale": NSLocale.preferredLanguages.firstObject ?: @"en",
    };
    [self send:[self request:@"PUT" path:[@"api/devices/" stringByAppendingString:deviceId] body:body]];
}

// Else the next user of this phone sees this one's alerts.
- (void)signOut:(NSString *)deviceId {
    [self.user logout];
    [self send:[self request:@"DELETE" path:[@"api/devices/" stringByAppendingString:deviceId] body:nil]];
}

- (NSMutableURLRequest *)request:(NSString *)method path:(NSString *)path body:(nullable NSDictionary *)body {
    NSMutableURLRequest *request = [NSMutableURLRequest requestWithURL:[_service URLByAppendingPathComponent:path]];
    request.HTTPMethod = method;
    request.timeoutInterval = 5;
    [request setValue:[@"Bearer " stringByAppendingString:_bearer()] forHTTPHeaderField:@"Authorization"];
    if (body != nil) {
        [request setValue:@"application/json" forHTTPHeaderField:@"Content-Type"];
        request.HTTPBody = [NSJSONSerialization dataWithJSONObject:body options:0 error:nil];
    }
    return request;
}

- (void)send:(NSURLRequest *)request {
    [[NSURLSession.sharedSession dataTaskWithRequest:request] resume];
}

@end
