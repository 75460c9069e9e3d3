-- load.lua - what wrk sends in each workload, and its result as one line that a program can read.
-- Errors and answers other than 2xx and 3xx give wrk the exit status 1.

local REQUEST_BYTES = 44	-- of a GET, head included

function init(args)
	local workload, keys = args[1], tonumber(args[2])
	if workload == "put" then
		local n, body = 0, string.rep("x", 1024)
		function request()
			n = n + 1
			return wrk.format("PUT", "/key" .. n % 10000, {}, body)
		end
	elseif keys > 0 then
		local n = 0
		function request()
			n = n + 1
			return wrk.format("GET", "/key" .. n % keys)
		end
	elseif workload == "post1k" or workload:sub(1, 3) == "wal" then
		wrk.method = "POST"
		wrk.body = string.rep("x", 1024)
	elseif workload == "conn" then
		wrk.headers["Connection"] = "close"
	else
		local pad = REQUEST_BYTES - #wrk.format() - #"X: \r\n"
		wrk.headers["X"] = string.rep("x", math.max(pad, 1))
	end
end

function done(summary, latency, requests)
	local e = summary.errors
	print(string.format("load: requests %d microseconds %d bytes %d p50 %d p99 %d " ..
			    "connect %d read %d write %d status %d timeout %d",
			    summary.requests, summary.duration, summary.bytes,
			    latency:percentile(50), latency:percentile(99),
			    e.connect, e.read, e.write, e.status, e.timeout))
	io.stdout:flush()
	if e.connect + e.read + e.write + e.status + e.timeout > 0 then
		os.exit(1)
	end
end
