from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.config.catalogue import load, shipped
from exporter.config.documents import DocumentError
from exporter.config.fingerprints import load_marks
from exporter.model.fingerprints import Fingerprint, Kind
from exporter.model.vocabulary import Answer
from exporter.probe.block_pages import domains_of, leads_astray, recognise

MARKS = load_marks(shipped() / "vocabulary" / "fingerprints.yaml")
FINGERPRINTS = MARKS.fingerprints
BLOCK, ERROR, AUTHENTICATION, PORTAL, EXPECTS_TLS = Kind


def page(body: str, status: int = 200, **headers: str) -> Answer:
    named = ((name.replace("_", "-"), value) for name, value in headers.items())
    return Answer(status, (("Content-Type", "text/html"), *named), body)


def redirect(location: str, status: int = 302) -> Answer:
    return Answer(status, (("Location", location), ("Content-Length", "0")))


# ---------------------------------------------------------------- products

# What each product is known by and no more; the words around are our own.
SAMPLES = [
    ("Squid", BLOCK, page("no", 403, X_Squid_Error="ERR_ACCESS_DENIED 0")),
    ("Squid", AUTHENTICATION, page("no", 407, X_Squid_Error="ERR_CACHE_ACCESS_DENIED 0")),
    ("Squid", BLOCK, page("no", 403, X_Squid_Error="ERR_FORWARDING_DENIED 0")),
    ("Squid", ERROR, page("no", 413, X_Squid_Error="ERR_TOO_BIG 0")),
    ("Squid", ERROR, page("no", 503, X_Squid_Error="ERR_DNS_FAIL 0")),
    ("Squid", ERROR, page("no", 503, x_squid_error="ERR_CONNECT_FAIL 111")),
    ("Squid", ERROR, page("no", 503, X_SQUID_ERROR="ERR_SECURE_CONNECT_FAIL 71")),
    ("Squid", ERROR, page("no", 503, X_Squid_Error="ERR_CANNOT_FORWARD 0")),
    ("Squid", ERROR, page("no", 504, X_Squid_Error="ERR_READ_TIMEOUT 0")),
    ("Squid", ERROR, page("no", 503, X_Squid_Error="ERR_LIFETIME_EXP 0")),
    ("Squid", ERROR, page("no", 502, X_Squid_Error="ERR_READ_ERROR 104")),
    ("Squid", ERROR, page("no", 502, X_Squid_Error="ERR_ZERO_SIZE_OBJECT 0")),
    ("Squid", ERROR, page("no", 409, X_Squid_Error="ERR_CONFLICT_HOST 0")),
    ("Squid", ERROR, page("no", 500, X_Squid_Error="ERR_ICAP_FAILURE 0")),
    ("Squid", ERROR, page("no", 400, X_Squid_Error="ERR_INVALID_URL 0")),
    ("Squid", ERROR, page("no", 503, X_Squid_Error="ERR_SHUTTING_DOWN 0")),
    ("Squid", BLOCK, page("", 302, X_Squid_Error="403 Access Denied", Location="http://it.corp.example/policy")),
    ("Squid", BLOCK, page("no", 403, X_Squid_Error="ERR_NOT_AT_WORK 0")),
    ("Squid", BLOCK, page("<body id=ERR_ACCESS_DENIED><h1>No</h1>", 403)),
    ("Squid", AUTHENTICATION, page("<body id=ERR_CACHE_ACCESS_DENIED><h1>No</h1>", 407)),
    ("Squid", ERROR, page("<body id=ERR_DNS_FAIL><h1>No</h1>", 503)),
    ("tinyproxy", BLOCK, page("no", 403, Server="tinyproxy/1.11.1")),
    ("tinyproxy", ERROR, page("no", 500, Server="tinyproxy/1.11.1")),
    ("Forefront TMG", BLOCK, page("Forefront TMG denied the specified Uniform Resource Locator (URL). (12202)", 502)),
    (
        "Microsoft ISA Server or Forefront TMG",
        BLOCK,
        Answer(502, phrase="Proxy Error ( The ISA Server denied the specified Uniform Resource Locator (URL).  )"),
    ),
    (
        "Microsoft ISA Server or Forefront TMG",
        BLOCK,
        Answer(502, phrase="Proxy Error ( The specified Secure Sockets Layer (SSL) port is not allowed. )"),
    ),
    (
        "Microsoft ISA Server or Forefront TMG",
        BLOCK,
        page("<TD>Network Access Message:<SPAN class=TitleDescription> Access Denied</SPAN>", 403),
    ),
    (
        "Microsoft ISA Server or Forefront TMG",
        ERROR,
        page("<TD>Network Access Message:<SPAN class=TitleDescription> The page cannot be displayed</SPAN>", 502),
    ),
    ("Azure Firewall", BLOCK, Answer(470, (("Content-Type", "text/plain"),), "Action: Deny. Reason: No rule matched.")),
    ("Zscaler", AUTHENTICATION, redirect("https://gateway.zscloud.net/auT?origurl=http%3A%2F%2Fhost&_ordtok=x", 307)),
    ("Zscaler", AUTHENTICATION, page('<script>location="https://gateway.zscaler.net/auT?origurl=http%3A%2F%2Fhost"')),
    ("Zscaler", AUTHENTICATION, page("<title>Welcome To Zscaler Directory Authentication</title>")),
    ("Zscaler", BLOCK, page("no", 403, Server="Zscaler/6.2")),
    ("Zscaler", BLOCK, page("<title>Internet Security by Zscaler</title>", 403)),
    ("Zscaler", BLOCK, redirect("http://gateway.zscalertwo.net:80/?url=http%3a%2f%2fhost.example", 307)),
    (
        "Zscaler",
        BLOCK,
        redirect(
            "https://it.corp.example/?url=x&reason=Not+allowed&reasoncode=CATEGORY_DENIED&timebound=1&kind=category"
        ),
    ),
    ("Symantec ProxySG (Blue Coat)", BLOCK, page("<big>Access Denied (content_filter_denied)</big>", 403)),
    ("Symantec ProxySG (Blue Coat)", ERROR, page("<big>Network Error (tcp_error)</big>", 503)),
    ("Symantec ProxySG (Blue Coat)", AUTHENTICATION, redirect("https://proxysg/?cfru=aHR0cDovL2hvc3QuZXhhbXBsZS8=")),
    ("Symantec ProxySG (Blue Coat)", BLOCK, redirect("http://notify.bluecoat.com/notify-Notify?http://host.example")),
    ("Symantec Web Security Service", AUTHENTICATION, redirect("https://saml.threatpulse.net:8443/saml/saml_realm/")),
    ("Forcepoint Cloud Security Gateway", AUTHENTICATION, redirect("https://proxy-login.blackspider.com/?u=host")),
    ("Netskope", AUTHENTICATION, redirect("https://nsauth-corp.eu.goskope.com/nsauth/client?state=1", 303)),
    ("Menlo Security", BLOCK, redirect("https://safe.menlosecurity.com/http://host.example/")),
    (
        "Cloudflare Access",
        AUTHENTICATION,
        redirect("https://corp.cloudflareaccess.com/cdn-cgi/access/login/host?kid=1"),
    ),
    ("Cloudflare Gateway", BLOCK, redirect("https://blocked.teams.cloudflare.com/?account_id=1", 303)),
    ("Forcepoint (Websense)", BLOCK, redirect("http://10.1.2.3:15871/cgi-bin/blockpage.cgi?ws-session=1")),
    ("Forcepoint (Websense)", BLOCK, page('<frame src="http://10.1.2.3:15871/cgi-bin/block_message.cgi?ws=1">')),
    (
        "Skyhigh Secure Web Gateway (McAfee)",
        BLOCK,
        page("<title>McAfee Web Gateway - Notification - Blocked by URL filtering</title>", 403),
    ),
    ("Skyhigh Secure Web Gateway (McAfee)", BLOCK, page('<img src="/mwg-internal/de5fs23hm64ds/files/logo.svg">', 403)),
    ("Cisco Umbrella", AUTHENTICATION, redirect("https://saml.gateway.id.swg.umbrella.com/gw/auth/login?url=x")),
    ("Cisco Umbrella", BLOCK, redirect("https://block.opendns.com/?url=152320")),
    ("Cisco Umbrella", BLOCK, page('<script>location.replace("https://block.opendns.com/?url=152320")</script>')),
    ("Cisco Secure Access", BLOCK, redirect("https://malware.block.sse.cisco.com/?url=host&server=fra1")),
    (
        "Cisco Secure Access",
        BLOCK,
        page('<script>location.replace("https://block.sse.cisco.com/?url=1&ablock&server=fra1");</script>', 403),
    ),
    (
        "Cisco Umbrella",
        BLOCK,
        page('<link rel="icon" href="/static/icons/cisco.ico" />\n\t\n\t<title>Site Blocked</title>', 403),
    ),
    (
        "Cisco Secure Web Appliance (WSA)",
        BLOCK,
        page("<title>Notification: Policy: URL Filtering</title>", 403, Via="1.1 wsa.corp.example:80 (Cisco-WSA/9.1)"),
    ),
    ("Cisco Meraki", BLOCK, redirect("http://wired.meraki.com:8090/blocked.cgi?blocked_server=192.0.2.1:80")),
    (
        "Palo Alto Networks",
        BLOCK,
        page("Access to the web page you were trying to visit has been blocked in accordance with our rules", 503),
    ),
    ("Palo Alto Networks", BLOCK, redirect("http://10.1.2.3:6080/php/urlblock.php?args=AAAA")),
    ("Palo Alto Networks", AUTHENTICATION, redirect("https://fw.corp.example:6082/php/uid.php?vsys=1&rule=0")),
    ("FortiGate", BLOCK, page('<img src="http://url.fortinet.net:8008/XX/YY/ZZ/CI/MGPGHG">', 403)),
    (
        "FortiGate",
        BLOCK,
        page("You have tried to access a web page which is in violation of your internet usage policy.", 403),
    ),
    ("FortiGate", AUTHENTICATION, redirect("https://10.1.2.3:1003/fgtauth?0581ab2275945abd", 303)),
    ("FortiGate", AUTHENTICATION, page('<script>window.location="http://10.1.2.3:1000/fgtauth?05"</script>')),
    ("Check Point", BLOCK, redirect("http://10.1.2.3/UserCheck/PortalMain?IID=1&origUrl=aHR0cDovL2hvc3Q")),
    ("Check Point", BLOCK, page("<title>Check Point UserCheck</title>")),
    ("Sophos Web Appliance", ERROR, page("<!-- NOTIFICATION PAGE TEMPLATE: ERROR PAGES -->", 503)),
    ("Sophos UTM", BLOCK, page("<div>Powered by UTM Web Protection</div>", 403)),
    ("iboss", BLOCK, redirect("http://10.1.2.3:8080/ibreports/ibp/bp.html?url=host.example")),
    ("SonicWall", BLOCK, page("<title>SonicWALL - Web Site Blocked</title>")),
    ("SonicWall", BLOCK, page("no", Server="SonicWALL")),
    ("WatchGuard", BLOCK, page("<title>Request denied by WatchGuard HTTP Proxy</title>", 403)),
    ("Barracuda", BLOCK, page("no", 403, Server="BarracudaHTTP 4.0")),
    ("Kerio Control", BLOCK, page("<p>This page has been blocked by Kerio Control</p>", 403)),
    ("Kerio Control", BLOCK, page("no", 403, Server="Kerio Control Embedded Web Server")),
    ("Untangle", BLOCK, redirect("http://10.1.2.3/web-filter/blockpage?nonce=123", 307)),
    ("Netsweeper", BLOCK, redirect("http://filter.example.org:8080/webadmin/deny/index.php?dpid=1")),
    ("Netsweeper", BLOCK, page('<iframe src="http://10.1.2.3:8080/webadmin/deny/index.php?dpid=1">')),
    ("ContentKeeper", BLOCK, page("<h1>Blocked by ContentKeeper</h1>")),
    ("Lightspeed Filter", BLOCK, page("<title>Lightspeed Systems - Web Access</title>", 403)),
    ("Olfeo", BLOCK, page("no", 403, Server="Olfeo")),
    ("squidGuard", BLOCK, redirect("http://filter.corp.example/cgi-bin/squidGuard.cgi?clientaddr=10.1.2.3")),
    ("nginx", EXPECTS_TLS, page("<title>400 The plain HTTP request was sent to HTTPS port</title>", 400)),
    (
        "Apache httpd",
        EXPECTS_TLS,
        page("<p>No.<br />\nReason: You're speaking plain HTTP to an SSL-enabled server port.<br />", 400),
    ),
    ("a server written in Go", EXPECTS_TLS, Answer(400, (), "Client sent an HTTP request to an HTTPS server.\n")),
    (
        "Apache Tomcat",
        EXPECTS_TLS,
        Answer(400, (), "Bad Request\r\nThis combination of host and port requires TLS.\r\n"),
    ),
    ("a captive portal (WISPr)", PORTAL, page("<html><!--<WISPAccessGatewayParam\r\n xmlns:xsi='x'>-->", 302)),
    ("CoovaChilli", PORTAL, redirect("http://login.hotel.example/?res=notyet&uamip=10.1.0.1&uamport=3990")),
    ("WiFiDog", PORTAL, redirect("https://gateway.hotel.example/wifidog/login/?gw_id=1")),
    ("ANTlabs", PORTAL, redirect("http://ezxcess.antlabs.com/login/index.ant?url=x")),
    ("a captive portal", PORTAL, page('<meta http-equiv="refresh" content="0; url=https://login.example/">', 511)),
]


def test_every_fingerprint_recognises_its_sample() -> None:
    found = [recognise(answer, FINGERPRINTS) for _, _, answer in SAMPLES]

    assert [(mark.product, mark.kind) for mark in found if mark] == [sample[:2] for sample in SAMPLES]
    assert found == list(FINGERPRINTS)


def test_no_fingerprint_recognises_the_sample_of_another_product() -> None:
    mistaken = [
        (mark.product, product)
        for product, _, answer in SAMPLES
        for mark in FINGERPRINTS
        if mark.product != product and recognise(answer, [mark])
    ]
    assert mistaken == []


CLOUDS = ["zscaler", "zscalerone", "zscalertwo", "zscalerthree", "zscalerbeta", "zscalergov", "zscalerten", "zscloud"]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_gateway_of_any_cloud_is_known_and_its_login_is_no_denial(cloud: str) -> None:
    denial = recognise(redirect(f"https://gateway.{cloud}.net:443/?url=http%3a%2f%2fhost", 307), FINGERPRINTS)
    login = recognise(
        redirect(f"https://gateway.{cloud}.net/auT?origurl=http%3A%2F%2Fhost&_ordtok=x", 307), FINGERPRINTS
    )
    assert [mark and (mark.product, mark.kind) for mark in (denial, login)] == [
        ("Zscaler", BLOCK),
        ("Zscaler", AUTHENTICATION),
    ]
    assert recognise(redirect(f"https://gateway.{cloud}.net.example/"), FINGERPRINTS) is None


@pytest.mark.parametrize("host", ["block", "malware", "phish", "bpb", "hit-adult"])
def test_every_block_host_of_cisco_is_known(host: str) -> None:
    for location in (f"https://{host}.opendns.com/?url=1", f"https://{host}.block.sse.cisco.com/?url=1"):
        mark = recognise(redirect(location), FINGERPRINTS)
        assert mark
        assert mark.kind is BLOCK


@pytest.mark.parametrize(
    "name", ["ERR_OUR_OWN 0", "404:ERR_OUR_OWN 0", "200:ERR_ACCESS_DENIED 0", "ERR_FIREWALL_BLOCKED"]
)
def test_a_page_of_squids_owner_is_a_denial_whatever_status_it_is_given(name: str) -> None:
    mark = recognise(page("no", 404, X_Squid_Error=name), FINGERPRINTS)
    assert mark
    assert (mark.product, mark.kind) == ("Squid", BLOCK)


def test_a_refreshing_page_gives_the_same_evidence_as_a_redirect() -> None:
    found = recognise(
        page('<META HTTP-EQUIV="Refresh" CONTENT="0; URL=http://10.1.2.3:6080/php/urlblock.php?a=1&amp;b=2">'),
        FINGERPRINTS,
    )
    assert found
    assert found.product == "Palo Alto Networks"


# Answers of honest servers. Each is what such a server says, in our words and with its markers.
ORDINARY = {
    "Azure blob 400": Answer(
        400,
        (("Content-Type", "application/xml"), ("Server", "Microsoft-HTTPAPI/2.0"), ("x-ms-request-id", "1")),
        '\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>InvalidQueryParameterValue</Code>'
        "<Message>Value for one of the query parameters is invalid.</Message></Error>",
    ),
    "Azure blob 403": Answer(
        403,
        (("Content-Type", "application/xml"), ("Server", "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0")),
        "<Error><Code>AuthenticationFailed</Code><Message>Access Denied (see the value of Authorization)</Message>",
    ),
    "IIS 403": page(
        "<title>403 - Forbidden: Access is denied.</title><h1>Server Error</h1>"
        "<h3>You do not have permission to view this directory or page using the credentials that you supplied.</h3>",
        403,
        Server="Microsoft-IIS/10.0",
    ),
    "IIS 404": page("<title>404 - File or directory not found.</title>", 404, Server="Microsoft-IIS/10.0"),
    "nginx 404": page("<h1>404 Not Found</h1><hr><center>nginx</center>", 404, Server="nginx"),
    "HAProxy 403": page("<h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.", 403),
    "Akamai 403": page(
        '<TITLE>Access Denied</TITLE><H1>Access Denied</H1>You don\'t have permission to access "http://host.example/" '
        "on this server.<P>Reference #18.5eb63b17.1588855130.20d010c",
        403,
        Server="AkamaiGHost",
        Mime_Version="1.0",
    ),
    "Akamai 503": page(
        "<H1>Service Unavailable - Zero size object</H1>The server is temporarily unable to service your request.<P>"
        "Reference #15.5eb63b17.1588855130.20d010c",
        503,
        Server="AkamaiGHost",
    ),
    "Front Door 403": page(
        "<h2>Our services aren't available right now</h2><p>The request is blocked.</p>", 403, X_Azure_Ref="0abc"
    ),
    "GitHub": page("<title>GitHub</title>", Server="github.com", X_GitHub_Request_Id="A1"),
    "a login page": page(
        "<title>Sign in to your account</title><script>var $Config={'sErr':'Your account is blocked. Contact your "
        "administrator.','urlBlocked':'/blocked','iErrorCode':0}</script><noscript>"
        '<meta http-equiv="Refresh" content="0; URL=https://login.microsoftonline.com/jsdisabled" /></noscript>'
    ),
    "WSUS": page("<title>403 - Forbidden: Access is denied.</title>", 403, X_Powered_By="ASP.NET"),
    "an update host": Answer(200, (("Content-Type", "application/octet-stream"),), "MSCF\x00\x00\x00\x00"),
    "a passed proxy": page("hello", Via="1.1 proxy.corp.example (squid/6.6)", X_Cache="MISS from proxy.corp.example"),
    "a squid in front of the server": page("hello", Server="squid/6.6", X_Cache_Lookup="HIT from cache:80"),
    "a Zscaler service": Answer(200, (("Server", "Zscaler"), ("Content-Type", "application/json")), "{}"),
    "a published site behind TMG": page(
        "Error Code: 403 Forbidden. The server denied the specified Uniform Resource Locator (URL). (12302)", 403
    ),
    "a status of one's own": page("Login timed out", 470),
    "a Location without a redirect": page("created", 201, Location="http://block.opendns.com/"),
    "nothing": Answer(204),
    "fwlink": redirect("https://learn.microsoft.com/mem/configmgr"),
    "aka.ms": redirect("https://configmgrbits.azureedge.net/gateway", 301),
    "to https": redirect("https://go.microsoft.com/", 301),
    "to a login": redirect("https://login.microsoftonline.com/common/oauth2/authorize?redirect_uri=https%3a%2f%2fx"),
    "relative": redirect("/en-us/"),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_answer_bears_no_fingerprint(name: str) -> None:
    assert recognise(ORDINARY[name], FINGERPRINTS) is None


DOCUMENTED = domains_of((endpoint.pattern for group in load().groups for endpoint in group.endpoints), MARKS.shared)


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_answer_of_a_microsoft_host_leads_nowhere_astray(name: str) -> None:
    assert leads_astray("http://go.microsoft.com/", ORDINARY[name], DOCUMENTED, shared=MARKS.shared) is None


# ---------------------------------------------------------------- evidence


def test_all_evidence_must_be_there() -> None:
    mark = Fingerprint(
        "a product",
        BLOCK,
        "refuses",
        header=("server", re.compile("^x")),
        statuses=frozenset({302}),
        location=re.compile("/deny"),
        body=re.compile("moved"),
    )
    whole = Answer(302, (("SERVER", "x/1"), ("location", "/deny?a")), "moved")
    lacking = [
        Answer(301, whole.headers, whole.body),
        Answer(302, (("Server", "y"), ("Location", "/deny?a")), whole.body),
        Answer(302, (("Location", "/deny?a"),), whole.body),
        Answer(302, (("Server", "x/1"), ("Location", "/")), whole.body),
        Answer(302, (("Server", "x/1"),), whole.body),
        Answer(302, whole.headers, ""),
    ]

    assert recognise(whole, [mark]) is mark
    assert [recognise(answer, [mark]) for answer in lacking] == [None] * len(lacking)


def test_a_header_that_comes_twice_counts_each_time() -> None:
    answer = Answer(403, (("X-Squid-Error", "of ours"), ("x-squid-error", "ERR_ACCESS_DENIED 0")))
    assert recognise(answer, FINGERPRINTS) == FINGERPRINTS[0]


def test_only_beginnings_are_looked_at() -> None:
    marks = [
        Fingerprint("a page", BLOCK, "", body=re.compile("deny")),
        Fingerprint("a header", BLOCK, "", header=("server", re.compile("deny"))),
        Fingerprint("a redirect", BLOCK, "", location=re.compile("deny")),
    ]
    tag = '<meta http-equiv="refresh" content="0; url=deny">'

    def found(before: str) -> list[str]:
        answers = (page(f"{before}deny"), page("", Server=f"{before}deny"), page(f"{before}{tag}"))
        return [mark.product for mark, answer in zip(marks, answers, strict=True) if recognise(answer, [mark])]

    assert found("x" * 1000) == ["a page", "a header", "a redirect"]
    assert found("x" * 4096) == []


def test_the_first_fingerprint_wins() -> None:
    narrow, wide = (Fingerprint(name, BLOCK, "", body=re.compile(name)) for name in ("deny", "den"))
    assert recognise(page("deny"), [narrow, wide]) is narrow
    assert recognise(page("deny"), [wide, narrow]) is wide


# ---------------------------------------------------------------- where it leads

FWLINK = "http://go.microsoft.com/fwlink/?LinkID=619849"
MICROSOFT = frozenset({"microsoft.com", "windows.net", "blob.core.windows.net", "configmgrbits.azureedge.net"})

ASTRAY = [
    ("http://portal.hotel.example/login", "portal.hotel.example"),
    ("//portal.hotel.example/login", "portal.hotel.example"),
    ("HTTP://Portal.Hotel.EXAMPLE.:8080/login", "portal.hotel.example"),
    ("https://go.microsoft.com@portal.hotel.example/", "portal.hotel.example"),
    ("http://go.microsoft.com.portal.example/", "go.microsoft.com.portal.example"),
    ("http://notmicrosoft.com/", "notmicrosoft.com"),
    ("http://portal.bücher.example/", "portal.xn--bcher-kva.example"),
    ("http://portal.xn--bcher-kva.example/", "portal.xn--bcher-kva.example"),
    ("http://portal/", "portal"),
    ("http://localhost/", "localhost"),
    ("http://192.168.1.1/", "192.168.1.1"),
    ("http://10.1.2.3:8090/ips/block", "10.1.2.3"),
    ("http://169.254.1.1/", "169.254.1.1"),
    ("http://203.0.114.5/", "203.0.114.5"),
    ("http://[fe80::1]/", "fe80::1"),
    ("http://[FD00:0::1]:80/", "fd00::1"),
    ("http://[::ffff:10.0.0.1]/", "::ffff:10.0.0.1"),
    ("http://other.azureedge.net/", "other.azureedge.net"),
    ("http://portal.azurewebsites.net/", "portal.azurewebsites.net"),
    ("http://a..b:99999999/", "a..b"),
    ("http:///portal.example/", "portal.example"),
    ("///portal.example/", "portal.example"),
    ("/\\portal.example/", "portal.example"),
    ("https:portal.example/", "portal.example"),
]


@pytest.mark.parametrize(("location", "host"), ASTRAY)
def test_a_strange_host_is_named(location: str, host: str) -> None:
    assert leads_astray(FWLINK, redirect(location), MICROSOFT) == host


@pytest.mark.parametrize(("location", "host"), ASTRAY)
def test_a_page_that_refreshes_itself_leads_as_a_redirect_does(location: str, host: str) -> None:
    tags = (
        f'<meta http-equiv="refresh" content="0; url={location}">',
        f"<META content='5;URL={location}' HTTP-EQUIV=Refresh/>",
        f'<meta http-equiv="refresh" content="0; url={location.replace("/", "&#47;")}">',
        f"<meta charset=utf-8><meta\nhttp-equiv = 'refresh' content=\"0, '{location}'\">",
        f'<!--><meta http-equiv="refresh" content="0; url={location}">',
        f'<!-- what browsers take for an end --!><meta http-equiv="refresh" content="0; url={location}">',
    )
    assert [leads_astray(FWLINK, page(f"<html>{tag}"), MICROSOFT) for tag in tags] == [host] * len(tags)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "/",
        "?a=http://portal.example/",
        "#x",
        "en-us/page",
        "../up",
        FWLINK,
        "https://go.microsoft.com/fwlink/",
        "https://GO.microsoft.com.:8443/",
        "https://learn.microsoft.com/mem",
        "https://microsoft.com/",
        "https://deep.below.go.microsoft.com/",
        "https://login.windows.net/",
        "https://anybody.blob.core.windows.net/a.cab",
        "https://configmgrbits.azureedge.net/",
        "http://[::1",
        "http://[zz]/",
        "http:nowhere",
        "https://",
        "mailto:admin@hotel.example",
        "ms-appinstaller://portal.hotel.example/",
        "javascript:location='http://portal.example/'",
        "data:text/html,http://portal.example/",
        "http://℀.example/",
    ],
)
def test_what_resembles_a_fault_and_is_none(location: str) -> None:
    assert leads_astray(FWLINK, redirect(location), MICROSOFT, shared=MARKS.shared) is None


@pytest.mark.parametrize(
    ("url", "location", "host"),
    [
        ("https://one.blob.core.windows.net/", "https://two.blob.core.windows.net/", "two.blob.core.windows.net"),
        ("https://one.blob.core.windows.net/", "https://a.one.blob.core.windows.net/", None),
        ("https://shop.corp.co.uk/", "https://login.corp.co.uk/", None),
        ("https://shop.corp.co.uk/", "https://login.other.co.uk/", "login.other.co.uk"),
        ("https://sup1.corp.example:8531/", "https://sup2.corp.example:8531/", None),
        ("https://sup1/", "https://sup1.corp.example/", "sup1.corp.example"),
        ("https://münchen.example/", "https://xn--mnchen-3ya.example/", None),
        ("https://www.münchen.example/", "https://shop.xn--mnchen-3ya.example/", None),
        ("http://10.1.2.3:8530/", "https://10.1.2.3:8531/", None),
        ("http://10.1.2.3/", "http://10.1.2.4/", "10.1.2.4"),
        ("http://[2001:db8::1]/", "https://[2001:DB8:0::1]/", None),
        ("http://sup1.corp.example/", "http://10.1.2.3/", "10.1.2.3"),
    ],
)
def test_the_own_domain_is_the_hosts_and_not_what_many_share(url: str, location: str, host: str | None) -> None:
    assert leads_astray(url, redirect(location), frozenset(), shared=MARKS.shared) == host


def test_a_name_too_long_for_any_host_is_told_as_it_is() -> None:
    name = ".".join(["bücher"] * 40)
    assert leads_astray(FWLINK, redirect(f"http://{name}/"), MICROSOFT) == name


def test_a_documented_address_is_no_stray_unless_it_is_private() -> None:
    domains = domains_of(["https://1.2.3.4/health", "10.1.2.3", "https://[2606:4700::1]/"])

    assert domains == {"1.2.3.4", "10.1.2.3", "2606:4700::1"}
    assert leads_astray(FWLINK, redirect("http://1.2.3.4/"), domains) is None
    assert leads_astray(FWLINK, redirect("http://[2606:4700::1]/"), domains) is None
    assert leads_astray(FWLINK, redirect("http://10.1.2.3/"), domains) == "10.1.2.3"


def test_only_a_redirect_is_led_by_its_location() -> None:
    strange = (("Location", "http://portal.example/"),)

    found = {s for s in range(100, 600) if leads_astray(FWLINK, Answer(s, strange), MICROSOFT)}
    assert found == set(range(300, 400))


def test_a_tag_that_only_resembles_a_refresh_leads_nowhere() -> None:
    resembling = (
        '<meta name="refresh" content="0; url=http://portal.example/">',
        '<meta http-equiv="refresh" content="300">',
        '<metadata http-equiv="refresh" content="0; url=http://portal.example/">',
        '<meta http-equiv="Content-Type" content="text/html; url=http://portal.example/">',
        '<meta http-equiv="refresh" content="0; url=http://portal.example/"',
    )
    assert [leads_astray(FWLINK, page(tag), MICROSOFT) for tag in resembling] == [None] * len(resembling)


# ---------------------------------------------------------------- documented domains


@pytest.mark.parametrize(
    ("pattern", "domain"),
    [
        ("go.microsoft.com", "microsoft.com"),
        ("*.manage.microsoft.com", "microsoft.com"),
        ("http://*.windowsupdate.com", "windowsupdate.com"),
        ("*-umwatsonc.events.data.microsoft.com", "microsoft.com"),
        ("https://aka.ms/cmedgeapi", "aka.ms"),
        ("https://*.<RegionName>.logic.azure.com:443", "azure.com"),
        ("*.blob.core.windows.net", "blob.core.windows.net"),
        ("<name>.cloudapp.net", "cloudapp.net"),
        ("<prefix>.<region>.cloudapp.azure.com", "cloudapp.azure.com"),
        ("Configmgrbits.azureedge.net", "configmgrbits.azureedge.net"),
        ("login.corp.co.uk", "corp.co.uk"),
        ("localhost", "localhost"),
        ("http://<FQDN for software update point on child site>", None),
        ("*", None),
    ],
)
def test_a_pattern_names_a_domain(pattern: str, domain: str | None) -> None:
    assert domains_of([pattern], MARKS.shared) == ({domain} if domain else set())


def test_a_documented_host_is_at_home_wherever_one_is_asked_for() -> None:
    patterns = [endpoint.pattern for group in load().groups for endpoint in group.endpoints]
    hosts = [pattern for pattern in patterns if "/" not in pattern and domains_of([pattern])]
    concrete = [re.sub(r"<[^<>]*>|\*", "x", pattern) for pattern in hosts]

    strays = [
        host
        for host in concrete
        if leads_astray("https://aka.ms/", redirect(f"https://{host}/"), DOCUMENTED, shared=MARKS.shared)
    ]
    assert (len(concrete) > 50, strays) == (True, [])


# ---------------------------------------------------------------- any text, in bounded time

texts = st.text(max_size=300) | st.text(alphabet="htp:/[]@.%?#\\ ;<>=metarfsucon'\"0a-é٠", max_size=120)
headers = st.lists(st.tuples(st.sampled_from(["Location", "Server", "X-Squid-Error"]) | texts, texts), max_size=4)
answers = st.builds(Answer, st.integers(-1, 1000), headers.map(tuple), texts)


@given(texts, answers, st.frozensets(texts, max_size=3))
@example("https://h.example/", redirect("http://" + "a" * 64 + ".example/"), frozenset())
@example("https://h.example/", redirect("http://" + "é" * 2000 + "/"), frozenset())
@example("http://[::1", redirect("//["), frozenset())
def test_nothing_that_comes_back_raises(url: str, answer: Answer, domains: frozenset[str]) -> None:
    mark = recognise(answer, FINGERPRINTS)
    host = leads_astray(url, answer, domains)

    assert mark is None or mark in FINGERPRINTS
    assert host is None or host


@given(st.lists(texts, max_size=5))
def test_patterns_of_any_text_name_domains(patterns: list[str]) -> None:
    assert all(domains_of(patterns))


@given(st.sampled_from(["https://go.microsoft.com/", "http://10.1.2.3/"]), answers, *[st.frozensets(texts)] * 2)
@example(FWLINK, redirect("http://portal.example/"), frozenset(), frozenset({"portal.example"}))
def test_more_documented_domains_never_make_a_stray(
    url: str, answer: Answer, domains: frozenset[str], more: frozenset[str]
) -> None:
    host = leads_astray(url, answer, domains)
    assert leads_astray(url, answer, domains | more) in {host, None}


@given(st.lists(st.sampled_from([*"<>=;:/.?()_[]\"'", " ", "meta ", "url", "http-equiv", "a"]), max_size=3))
@example(["<meta "])
@example(["<meta http-equiv=refresh ;", " "])
@example([">Access Denied ("])
@example(['/static/icons/cisco.ico" />', " "])
def test_no_answer_takes_long(parts: list[str]) -> None:
    text = "".join(parts) or "x"
    body = (text * 4096)[:4096]
    block = (text * 100_000)[:100_000]
    tiny = tuple((text, text) for _ in range(10_000))
    started = time.thread_time()
    for answer in (Answer(302, (("Location", block), ("Server", block)), body), Answer(200, tiny, body)):
        recognise(answer, FINGERPRINTS)
        leads_astray("https://host.example/", answer, DOCUMENTED)
    assert time.thread_time() - started < 1  # of the processor; a hundredth of it is usual


# ---------------------------------------------------------------- the file


def test_every_shipped_fingerprint_says_who_what_and_where_from() -> None:
    incomplete = [mark for mark in FINGERPRINTS if not (mark.product and mark.meaning and all(mark.source))]

    assert len(FINGERPRINTS) > 60
    assert incomplete == []
    assert all(re.fullmatch(r"[a-z][^.]*", mark.meaning) for mark in FINGERPRINTS)


GOOD = """\
sources: {PAGE: a saved page}
fingerprints:
  - product: A filter
    kind: block
    meaning: refuses
    header: {name: X-Filter, value: '^no\\b'}
    status: [403]
    phrase: '^Refused'
    location: '/deny\\?[a-z]{1,40}='
    body: '(?:no|never)'
    source: PAGE
"""


def read(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Fingerprint, ...]:
    monkeypatch.chdir(tmp_path)
    Path("marks.yaml").write_text(text)
    return load_marks(Path("marks.yaml")).fingerprints


def test_every_part_of_a_fingerprint_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(GOOD, tmp_path, monkeypatch) == (
        Fingerprint(
            product="A filter",
            kind=BLOCK,
            meaning="refuses",
            header=("x-filter", re.compile(r"^no\b")),
            statuses=frozenset({403}),
            phrase=re.compile("^Refused"),
            location=re.compile(r"/deny\?[a-z]{1,40}="),
            body=re.compile("(?:no|never)"),
            source=("a saved page",),
        ),
    )


@pytest.mark.parametrize(
    ("replaced", "by", "mistake"),
    [
        ("source: PAGE", "source: PAG", "11: fingerprints[0].source: 'PAG': unknown source, did you mean PAGE?"),
        ("source: PAGE", "source: []", "11: fingerprints[0].source: the list is empty; name at least one"),
        ("    source: PAGE\n", "", "3: fingerprints[0].source: is missing; add it"),
        ("kind: block", "kind: blok", "4: fingerprints[0].kind: 'blok': unknown kind, did you mean block?"),
        ("body:", "bod:", "10: fingerprints[0].bod: unknown key, did you mean body?"),
        ("X-Filter", "'X:'", "6: fingerprints[0].header.name: expected the name of a header, found 'X:'"),
        (
            "[403]",
            "[4030]",
            "7: fingerprints[0].status[0]: expected a whole number from 100 to 599, found the number 4030",
        ),
    ],
)
def test_a_mistake_in_the_file_is_told(
    replaced: str, by: str, mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DocumentError) as caught:
        read(GOOD.replace(replaced, by), tmp_path, monkeypatch)
    assert str(caught.value) == f"marks.yaml:{mistake}"


ENDLESS = "repeats without end; give the end, as in {1,40}"
OTHER_GROUP = "has a group of another kind than one (?:of|alternatives)"


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("(?:no", "not a regular expression: missing ), unterminated subpattern at position 0"),
        ("n{9999999999}", "not a regular expression: the repetition number is too large"),
        ("n?", "matches an empty text, and so every text; write more of it"),
        ("^$|no", "matches an empty text, and so every text; write more of it"),
        ("no+", ENDLESS),
        ("no*", ENDLESS),
        ("n{1,}o", ENDLESS),
        ("(no)", OTHER_GROUP),
        ("(?=no)n", OTHER_GROUP),
        ("(?i:no)", OTHER_GROUP),
        ("(?:n|m)(?:o|a)", OTHER_GROUP),
        ("(?:no){2}", "repeats a group; give another entry for what it leaves out"),
        ("(?:no)?n", "repeats a group; give another entry for what it leaves out"),
        ("(?:[a-z]{1,80}|no)x", "can go more than 128 ways; shorten its repetitions"),
        ("[a-z]{1,40}x?y?z", "can go more than 128 ways; shorten its repetitions"),
    ],
)
def test_an_expression_that_could_take_long_is_a_mistake(
    expression: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DocumentError) as caught:
        read(GOOD.replace("(?:no|never)", expression), tmp_path, monkeypatch)
    assert str(caught.value) == f"marks.yaml:10: fingerprints[0].body: {fault}"


@pytest.mark.parametrize(
    "expression", [r"\*\+\(", "[*+(]", "[]*+(]", r"a\{1,\}", "colou?r", "x{3}", "[a-z]{1,128}x", "(?:[a-z]{1,60}x|y)"]
)
def test_what_only_resembles_such_an_expression_is_none(
    expression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mark,) = read(GOOD.replace("(?:no|never)", expression), tmp_path, monkeypatch)
    assert mark.body == re.compile(expression)


def test_a_fingerprint_without_evidence_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "sources: {P: x}\nfingerprints:\n  - {product: A, kind: error, meaning: fails, source: P}\n"
    with pytest.raises(DocumentError) as caught:
        read(text, tmp_path, monkeypatch)
    assert str(caught.value) == (
        "marks.yaml:3: fingerprints[0]: has no evidence; give `header`, `status`, `phrase`, `location` or `body`"
    )
