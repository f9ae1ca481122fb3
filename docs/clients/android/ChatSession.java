package com.example.chat;

import android.content.Context;
import com.xiaomi.mimc.MIMCTokenFetcher;
import com.xiaomi.mimc.MIMCUser;
import com.xiaomi.mipush.sdk.MiPushClient;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URL;
import java.nio.charset.StandardCharsets;

/**
 * One signed-in user of this phone: the MIMC token, the alerts, and the end of both.
 *
 * The calls that go to the network block; MIMC calls fetchToken() on a thread of its own, do the others on one of yours.
 */
public final class ChatSession implements MIMCTokenFetcher {
    /** The proof of who the user is: a bearer of your own backend, asked for anew each time because it may expire. */
    public interface Bearer {
        String current();
    }

    private static final int TIMEOUT_MS = 5_000;
    private final String service;
    private final String account;
    private final MIMCUser user;
    private final Bearer bearer;

    /** @param service like https://chat.example.com, without a slash at the end */
    public ChatSession(String service, String account, MIMCUser user, Bearer bearer) {
        this.service = service;
        this.account = account;
        this.user = user;
        this.bearer = bearer;
        user.registerTokenFetcher(this);
    }

    /** At the start of the app, and each time that it comes to the foreground: what came meanwhile is delivered then. */
    public void toForeground() {
        user.login();
    }

    /** MIMC's own answer as it came: the SDK reads it, and caches it. */
    @Override
    public String fetchToken() {
        try {
            return call("POST", "/api/account/token", "{}");
        } catch (IOException error) {
            return null; // the SDK asks again
        }
    }

    /**
     * With mipush.address = "account": call it when Mi Push has reported that it is registered, never before. Mi Push
     * refuses a phone that sets an account too often, so not at each start.
     */
    public void addressByAccount(Context context) {
        MiPushClient.setUserAccount(context, account, null);
    }

    /** With mipush.address = "regid": the regId that Mi Push has reported; again whenever it changes, and at each start. */
    public void register(String deviceId, String regId, String locale) throws IOException {
        String body = "{\"platform\":\"mipush\",\"push_token\":" + quoted(regId) + ",\"locale\":" + quoted(locale) + "}";
        call("PUT", "/api/devices/" + deviceId, body);
    }

    /** Else the next user of this phone sees this one's alerts. Only the app can do it. */
    public void signOut(Context context, String deviceId) throws IOException {
        MiPushClient.unsetUserAccount(context, account, null);
        user.logout();
        call("DELETE", "/api/devices/" + deviceId, null);
    }

    private String call(String method, String path, String body) throws IOException {
        HttpURLConnection connection = (HttpURLConnection) new URL(service + path).openConnection();
        try {
            connection.setRequestMethod(method);
            connection.setConnectTimeout(TIMEOUT_MS);
            connection.setReadTimeout(TIMEOUT_MS);
            connection.setInstanceFollowRedirects(false);
            connection.setRequestProperty("Authorization", "Bearer " + bearer.current());
            if (body != null) {
                connection.setDoOutput(true);
                connection.setRequestProperty("Content-Type", "application/json");
                connection.getOutputStream().write(body.getBytes(StandardCharsets.UTF_8));
            }
            int status = connection.getResponseCode();
            if (status != 200) {
                throw new IOException("HTTP " + status);
            }
            return read(connection.getInputStream());
        } finally {
            connection.disconnect();
        }
    }

    private static String read(InputStream from) throws IOException {
        try (InputStream in = from) {
            ByteArrayOutputStream all = new ByteArrayOutputStream();
            byte[] some = new byte[4096];
            for (int count = in.read(some); count >= 0; count = in.read(some)) {
                all.write(some, 0, count);
            }
            return new String(all.toByteArray(), StandardCharsets.UTF_8);
        }
    }

    private static String quoted(String text) {
        return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"") + "\"";
    }
}
