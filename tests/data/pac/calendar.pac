/* What is carried when: every day of the week and of the year is meant, so that the answer is the same today. */
function FindProxyForURL(url, host)
{
	if (weekdayRange("SUN", "SAT") && dateRange(1, 31) && timeRange(0, 24)) {
		return "PROXY always.corp.example:8080";
	}
	return "DIRECT";
}
